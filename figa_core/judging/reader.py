"""Turns a judge's replies into the value of an answer. Pure.

Only the JSON that was asked for counts: a number somewhere in prose may be anything.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from figa_core.judging.prompt import SCORE_FIELD, ask_again
from figa_core.llm.calls import CallOutcome
from figa_core.llm.question import AskAgain, Cut, Ending, NoAnswer, Settled, Verdict
from figa_core.llm.reply import Reply
from figa_core.records import Judgement, JudgementStatus
from figa_core.revision.json_answer import UnfitAnswerError, json_answer

_STATUS = {
    Ending.REFUSED: JudgementStatus.REFUSED,
    Ending.FAILED: JudgementStatus.FAILED,
    Ending.UNFIT: JudgementStatus.UNFIT,
}


class AnswerForm(Protocol):
    """What a judge's answer must be."""

    def read(self, text: str) -> float:
        """The value in an answer; raises UnfitAnswerError if it does not fit."""
        ...

    def ask_again(self, reason: str) -> dict[str, str]:
        """The message after an unfit answer."""
        ...


@dataclass(frozen=True, slots=True)
class ScoreForm:
    """Satisfies `AnswerForm`: a score from 1 to `highest_score`."""

    highest_score: int

    def read(self, text: str) -> float:
        """See `read_score`."""
        return read_score(text, self.highest_score)

    def ask_again(self, reason: str) -> dict[str, str]:
        """The message after an unfit answer."""
        return ask_again(self.highest_score, reason)


@dataclass(frozen=True, slots=True)
class JudgementReader:
    """Satisfies `llm.question.Reader` for one question, with answers of one form."""

    judgement_id: str
    form: AnswerForm

    def read(self, reply: Reply, *, attempt: int, max_tokens: int) -> Verdict[Judgement]:
        """See `llm.question.Reader`."""
        unfit = Judgement(self.judgement_id, JudgementStatus.UNFIT, attempts=attempt)
        if reply.refusal:
            reason = f"the judge refused: {reply.refusal}"[:500]
            return Settled(replace(unfit, status=JudgementStatus.REFUSED, reason=reason))
        try:
            score = self.form.read(reply.text or "")
        except UnfitAnswerError as error:
            if reply.outcome is CallOutcome.CUT_BY_LENGTH:
                return Cut(replace(unfit, reason=f"the answer was cut after {max_tokens} tokens"))
            return self._again(replace(unfit, reason=str(error)), reply)
        return Settled(replace(unfit, status=JudgementStatus.JUDGED, score=score))

    def without_answer(self, why: NoAnswer) -> Judgement:
        """See `llm.question.Reader`. A question that may be asked again counts as failed."""
        status = JudgementStatus.FAILED if why.retryable else _STATUS[why.ending]
        reason = f"the judge refused: {why.reason}" if why.ending is Ending.REFUSED else why.reason
        return Judgement(
            self.judgement_id, status, reason=reason, retryable=why.retryable, attempts=why.attempts
        )

    def unaskable(self, error: Exception) -> Judgement:
        """The final state of an answer that no request can carry."""
        reason = f"the answer cannot be put into a request: {error}"[:500]
        return Judgement(self.judgement_id, JudgementStatus.FAILED, reason=reason)

    def _again(self, unfit: Judgement, reply: Reply) -> AskAgain[Judgement]:
        reason = unfit.reason or "it has no score"
        quoted = {"role": "assistant", "content": reply.text or ""}
        return AskAgain(unfit, reason, (quoted, self.form.ask_again(reason)))


def read_score(text: str, highest_score: int) -> float:
    """The score in an answer, from 1 to `highest_score`; a half point counts.

    A reasoning model's thoughts and one code fence around the JSON are removed; other fields are ignored.

    Raises:
        UnfitAnswerError: the answer is anything other than a JSON object with such a score.
    """
    found = json_answer(text)
    if not isinstance(found, dict) or SCORE_FIELD not in found:
        raise UnfitAnswerError(f'it is not a JSON object with the field "{SCORE_FIELD}"')
    score = found[SCORE_FIELD]
    if type(score) not in (int, float) or not 1 <= score <= highest_score:
        raise UnfitAnswerError(f"the score is not a number from 1 to {highest_score}")
    return float(score)

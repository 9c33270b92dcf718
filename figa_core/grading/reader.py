"""Turns the grader's replies into the scores of a pair's words. Pure.

An answer fits exactly or not at all: a score that is missing, for an unknown word, out of range or not a
whole number says that the grader counted other words, so none of the others can be trusted either.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from figa_core.grading.prompt import MATTER_FIELD, SCORES_FIELD, ask_again
from figa_core.llm.calls import CallOutcome
from figa_core.llm.question import AskAgain, Cut, Ending, NoAnswer, Settled, Verdict
from figa_core.llm.reply import Reply
from figa_core.records import GradeStatus, WordGrades
from figa_core.revision.json_answer import UnfitAnswerError, json_answer
from figa_core.weighting.schemes import HIGHEST_SCORES, LLM_GRADED

_STATUS = {
    Ending.REFUSED: GradeStatus.REFUSED,
    Ending.FAILED: GradeStatus.FAILED,
    Ending.UNFIT: GradeStatus.UNFIT,
}


@dataclass(frozen=True, slots=True)
class GradeReader:
    """Satisfies `llm.question.Reader` for the `words` numbered words of one pair."""

    grade_id: str
    words: int
    scheme: str

    def read(self, reply: Reply, *, attempt: int, max_tokens: int) -> Verdict[WordGrades]:
        """See `llm.question.Reader`."""
        unfit = WordGrades(self.grade_id, GradeStatus.UNFIT, attempts=attempt)
        if reply.refusal:
            reason = f"the grader refused: {reply.refusal}"[:500]
            return Settled(replace(unfit, status=GradeStatus.REFUSED, reason=reason))
        try:
            scores = read_scores(reply.text or "", self.words, self.scheme)
        except UnfitAnswerError as error:
            if reply.outcome is CallOutcome.CUT_BY_LENGTH:
                return Cut(replace(unfit, reason=f"the answer was cut after {max_tokens} tokens"))
            return self._again(replace(unfit, reason=str(error)), reply)
        return Settled(replace(unfit, status=GradeStatus.GRADED, scores=scores))

    def without_answer(self, why: NoAnswer) -> WordGrades:
        """See `llm.question.Reader`. A pair that may be asked about again counts as failed."""
        status = GradeStatus.FAILED if why.retryable else _STATUS[why.ending]
        refused = why.ending is Ending.REFUSED
        reason = f"the grader refused: {why.reason}" if refused else why.reason
        return WordGrades(
            self.grade_id, status, reason=reason, retryable=why.retryable, attempts=why.attempts
        )

    def unaskable(self, error: Exception) -> WordGrades:
        """The final state of a pair that no request can carry."""
        reason = f"the pair cannot be put into a request: {error}"[:500]
        return WordGrades(self.grade_id, GradeStatus.FAILED, reason=reason)

    def _again(self, unfit: WordGrades, reply: Reply) -> AskAgain[WordGrades]:
        reason = unfit.reason or "it does not fit the words"
        quoted = {"role": "assistant", "content": reply.text or ""}
        return AskAgain(unfit, reason, (quoted, ask_again(self.scheme, self.words, reason)))


def read_scores(text: str, words: int, scheme: str) -> tuple[int, ...]:
    """The scores in an answer, in the order of the words; for `llm_binary` 1 for a word that matters.

    A reasoning model's thoughts and one code fence around the JSON are removed.

    Raises:
        UnfitAnswerError: the answer is anything other than the JSON that was asked for.
    """
    field = SCORES_FIELD if scheme == LLM_GRADED else MATTER_FIELD
    found = json_answer(text)
    if not isinstance(found, dict) or found.keys() != {field} or not isinstance(found[field], list):
        raise UnfitAnswerError(f'it is not a JSON object whose only field is the list "{field}"')
    if scheme == LLM_GRADED:
        return _graded(found[field], words, HIGHEST_SCORES[scheme])
    return _binary(found[field], words)


def _graded(entries: list[Any], words: int, highest: int) -> tuple[int, ...]:
    scores: dict[int, int] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.keys() != {"word", "score"}:
            raise UnfitAnswerError('an entry has other fields than "word" and "score"')
        word, score = _word(entry["word"], words, scores.__contains__), entry["score"]
        if type(score) is not int or not 0 <= score <= highest:
            raise UnfitAnswerError(f"the score of word {word} is not a whole number from 0 to {highest}")
        scores[word] = score
    if missing := [word for word in range(1, words + 1) if word not in scores]:
        raise UnfitAnswerError(f"{len(missing)} of {words} words have no score, such as word {missing[0]}")
    return tuple(scores[word] for word in range(1, words + 1))


def _binary(entries: list[Any], words: int) -> tuple[int, ...]:
    matter: set[int] = set()
    for entry in entries:
        matter.add(_word(entry, words, matter.__contains__))
    return tuple(int(word in matter) for word in range(1, words + 1))


def _word(number: Any, words: int, is_known: Callable[[int], bool]) -> int:
    if type(number) is not int:
        raise UnfitAnswerError("the number of a word is not a whole number")
    if not 1 <= number <= words:
        raise UnfitAnswerError(f"the words are numbered 1 to {words}, and it names word {number}")
    if is_known(number):
        raise UnfitAnswerError(f"it names word {number} twice")
    return number

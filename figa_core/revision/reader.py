"""Turns the reviser's replies into the state of a row. Pure."""

from dataclasses import dataclass, replace

from figa_core.llm.calls import CallOutcome
from figa_core.llm.question import AskAgain, Cut, Ending, NoAnswer, Settled, Verdict
from figa_core.llm.reply import Reply
from figa_core.ports import RevisionRequest
from figa_core.records import Revision, RevisionStatus
from figa_core.revision.answer import read_answer
from figa_core.revision.cut_answers import is_cut
from figa_core.revision.prompt import ask_again
from figa_core.revision.thoughts import Answer
from figa_core.revision.validation import judge_answer
from figa_core.revision.words import restore_ends

_STATUS = {
    Ending.REFUSED: RevisionStatus.REFUSED,
    Ending.FAILED: RevisionStatus.FAILED,
    Ending.UNFIT: RevisionStatus.REJECTED,
}


@dataclass(frozen=True, slots=True)
class RevisionReader:
    """Satisfies `llm.question.Reader` for one row; an answer above `max_edit_share` is a rewrite."""

    request: RevisionRequest
    max_edit_share: float

    def read(self, reply: Reply, *, attempt: int, max_tokens: int) -> Verdict[Revision]:
        """See `llm.question.Reader`."""
        draft = self.request.response
        answer = read_answer(reply.text or "", draft, self.request.reference)
        cut = is_cut(reply, answer, draft, max_tokens)
        revision = self._judge(reply, answer, attempt, "length" if cut else reply.finish_reason)
        if cut or reply.outcome is CallOutcome.CUT_BY_LENGTH:
            return Cut(revision)
        if revision.status is not RevisionStatus.REJECTED:
            return Settled(revision)
        reason = revision.reason or "it is unfit"
        quoted = {"role": "assistant", "content": reply.text or ""}
        return AskAgain(revision, reason, (quoted, ask_again(reason)))

    def without_answer(self, why: NoAnswer) -> Revision:
        """See `llm.question.Reader`. A row that may be asked about again counts as failed."""
        status = RevisionStatus.FAILED if why.retryable else _STATUS[why.ending]
        refused = why.ending is Ending.REFUSED
        reason = f"the reviser refused: {why.reason}" if refused else why.reason
        return replace(self._revision(status, None, reason, why.attempts), retryable=why.retryable)

    def unaskable(self, error: Exception) -> Revision:
        """The final state of a row that no request can carry."""
        reason = f"the row cannot be put into a request: {error}"[:500]
        return self._revision(RevisionStatus.FAILED, None, reason, 0)

    def _judge(self, reply: Reply, answer: Answer, attempt: int, finish_reason: str | None) -> Revision:
        status, reason = judge_answer(
            self.request.response,
            answer,
            finish_reason,
            reply.refusal,
            reference=self.request.reference,
            conversation="\n".join(message.shown for message in self.request.messages),
            max_edit_share=self.max_edit_share,
        )
        if not answer.text.strip():
            reason = f"{reason} ({reply.message})" if reply.message else reason
            return self._revision(status, None, reason, attempt)
        return self._revision(status, restore_ends(self.request.response, answer.text), reason, attempt)

    def _revision(
        self, status: RevisionStatus, text: str | None, reason: str | None, attempts: int
    ) -> Revision:
        row = self.request
        return Revision(row.revision_id, row.response_id, status, text, reason, attempts=attempts)

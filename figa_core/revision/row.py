"""One row while it is asked about: what is sent next, and what each reply makes of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from figa_core.ports import RevisionRequest
from figa_core.records import Revision
from figa_core.revision.attempts import Step, may_ask_again, next_step, settle
from figa_core.revision.prompt import ask_again
from figa_core.revision.reply import Reply
from figa_core.revision.settings import ReviserSettings

_LONGER = 2  # how many times the tokens, after an answer that was cut


class CallEnd(NamedTuple):
    """How one call ended: the row's final state, or what to do next; `reason` is why an answer is unfit."""

    step: Step
    revision: Revision | None
    reply: Reply
    reason: str | None = None


@dataclass(slots=True)
class Row:
    """A row and what was learnt about it so far."""

    request: RevisionRequest
    question: list[dict[str, str]]
    max_tokens: int
    attempt: int = 1
    lengthened: bool = False
    asked_again: int = 0
    objection: tuple[dict[str, str], ...] = ()

    @property
    def messages(self) -> list[dict[str, str]]:
        """What is sent: the question, and after an unfit answer that answer with what is wrong with it."""
        return [*self.question, *self.objection]

    def prepare_next(self, end: CallEnd) -> None:
        """Change what is asked for as the last call demands."""
        if end.step is Step.RETRY_LONGER:
            self.max_tokens, self.lengthened = self.max_tokens * _LONGER, True
        if end.step is Step.ASK_AGAIN:
            answer = {"role": "assistant", "content": end.reply.text or ""}
            self.objection = (answer, ask_again(end.reason or "it is unfit"))
            self.asked_again += 1
        if end.step in (Step.RETRY, Step.RETRY_LONGER, Step.ASK_AGAIN):
            self.attempt += 1


def judge(row: Row, reply: Reply, asked: Mapping[str, Any], settings: ReviserSettings) -> CallEnd:
    """What a reply makes of its row; `asked` are the request's fields besides model and messages."""
    step = next_step(
        reply,
        attempt=row.attempt,
        max_attempts=settings.max_attempts,
        lengthened=row.lengthened,
        limit_name="max_tokens" if "max_tokens" in asked else "max_completion_tokens",
        structured="response_format" in asked,
    )
    if step is not Step.SETTLE:
        return CallEnd(step, None, reply)
    revision = settle(row.request, reply, attempt=row.attempt, max_edit_share=settings.max_edit_share)
    again = may_ask_again(
        reply,
        revision,
        attempt=row.attempt,
        max_attempts=settings.max_attempts,
        asked_again=row.asked_again,
        asked_again_max=settings.asked_again_max,
    )
    if again:
        return CallEnd(Step.ASK_AGAIN, None, reply, revision.reason)
    return CallEnd(step, revision, reply)

"""One row while it is asked about: what is sent next, and what each reply makes of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from figa_core.llm.calls import CallOutcome
from figa_core.llm.reply import Reply
from figa_core.ports import RevisionRequest
from figa_core.records import Revision
from figa_core.revision.attempts import (
    ABOUT_THE_REQUEST,
    Step,
    may_ask_again,
    next_step,
    settle,
    settle_altered,
)
from figa_core.revision.dialect import STRUCTURED, Dialect
from figa_core.revision.prompt import ask_again
from figa_core.revision.settings import ReviserSettings
from figa_core.revision.unsaid import marked_if_cut

_LONGER = 2  # how many times the tokens, after an answer that was cut


class CallEnd(NamedTuple):
    """How one call ended: the row's final state, or what to do next; `reason` is why an answer is unfit.

    In doubt (`Step.DOUBT`) the final state is `held`, and not the row's yet.
    """

    step: Step
    revision: Revision | None
    reply: Reply
    reason: str | None = None
    held: Revision | None = None


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
    unfit: str | None = None  # why the last answer was, if one came
    busy_at: float | None = None  # when the call was sent that the server was last too busy for

    @property
    def messages(self) -> list[dict[str, str]]:
        """What is sent: the question, and after an unfit answer that answer with what is wrong with it."""
        return [*self.question, *self.objection]

    def prepare_next(self, end: CallEnd) -> None:
        """Change what is asked for as the last call demands."""
        if end.step is Step.RETRY_LONGER:
            self.max_tokens, self.lengthened = self.max_tokens * _LONGER, True
            self.unfit = "the answer was cut by length"
        if end.step is Step.ASK_AGAIN:
            answer = {"role": "assistant", "content": end.reply.text or ""}
            self.objection = (answer, ask_again(end.reason or "it is unfit"))
            self.asked_again += 1
            self.unfit = end.reason
        if end.step in (Step.RETRY, Step.RETRY_LONGER, Step.ASK_AGAIN):
            self.attempt += 1


def judge(
    row: Row,
    reply: Reply,
    asked: Mapping[str, Any],
    settings: ReviserSettings,
    dialect: Dialect,
    *,
    served: bool,
    busy: bool,
) -> CallEnd:
    """What a reply makes of its row.

    `asked` is the request besides the model, `served` says whether the endpoint has
    answered any call, `busy` whether it asks all calls to wait.
    """
    reply = marked_if_cut(reply, row.request.response, row.request.reference, row.max_tokens)
    if reply.setting == STRUCTURED and STRUCTURED not in asked:
        reply = replace(reply, outcome=CallOutcome.BAD_REQUEST)  # of JSON that nobody asked for
    step = next_step(
        reply,
        attempt=row.attempt,
        max_attempts=settings.max_attempts,
        lengthened=row.lengthened,
        asked_again=bool(row.objection),
        served=served,
        busy=busy,
    )
    if reply.outcome is CallOutcome.UNSUPPORTED_SETTING and step is Step.END_RUN:
        if dialect.adapt(reply, asked):
            return CallEnd(Step.RETRY_ADAPTED, None, reply)
        if row.unfit is not None:  # what all rows share was taken before: what was altered was not
            step = Step.SETTLE
    if step not in (Step.SETTLE, Step.DOUBT):
        return CallEnd(step, None, reply)
    revision = _settled(row, reply, settings)
    if step is Step.DOUBT:
        return CallEnd(step, None, reply, held=revision)
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


def _settled(row: Row, reply: Reply, settings: ReviserSettings) -> Revision:
    if row.unfit is not None and reply.outcome in ABOUT_THE_REQUEST:
        return settle_altered(row.request, reply, attempt=row.attempt, unfit=row.unfit)
    return settle(row.request, reply, attempt=row.attempt, max_edit_share=settings.max_edit_share)

"""One question while it is being asked: what to send next, and what follows from each reply. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic

from figa_core.llm.attempts import Step, next_step, no_answer
from figa_core.llm.calls import CallOutcome
from figa_core.llm.dialect import STRUCTURED, Dialect
from figa_core.llm.question import AskAgain, ChatMessages, Cut, NoAnswer, Question, V, Verdict
from figa_core.llm.reply import Reply
from figa_core.llm.settings import AskerSettings


@dataclass(frozen=True, slots=True)
class CallEnd(Generic[V]):
    """How one call ended, and what to do next."""

    step: Step
    reply: Reply
    value: V | None = None  # final; with SETTLE
    again: AskAgain[V] | None = None  # with ASK_AGAIN
    no_answer: NoAnswer | None = None  # with DOUBT, and with SETTLE if there is no answer


@dataclass(slots=True)
class Asking(Generic[V]):
    """A question, and what its calls have shown so far."""

    question: Question[V]
    max_tokens: int
    attempt: int = 1
    lengthened: bool = False
    asked_again: int = 0
    objection: ChatMessages = ()  # the last unfit answer, and what is wrong with it
    unfit: str | None = None  # why the last answer was unfit
    busy_at: float | None = None  # when the first call was sent that found the server too busy

    @property
    def messages(self) -> ChatMessages:
        """What to send."""
        return [*self.question.messages, *self.objection]

    def prepare_next(self, end: CallEnd[V]) -> None:
        """Change the request as the end of the last call demands."""
        if end.step is Step.RETRY_LONGER:
            self.max_tokens, self.lengthened = self.max_tokens * 2, True
            self.unfit = "the answer was cut by length"
        if end.again is not None:
            self.objection, self.unfit = end.again.messages, end.again.reason
            self.asked_again += 1
        if end.step in (Step.RETRY, Step.RETRY_LONGER, Step.ASK_AGAIN):
            self.attempt += 1


def judge(
    asking: Asking[V],
    reply: Reply,
    asked: Mapping[str, Any],
    settings: AskerSettings,
    dialect: Dialect,
    *,
    served: bool,
    busy: bool,
) -> CallEnd[V]:
    """What a reply means for its question.

    `asked` is the request without the model, `served` whether the endpoint has answered any call, `busy`
    whether it asks all calls to wait.
    """
    if reply.setting == STRUCTURED and STRUCTURED not in asked:
        reply = replace(reply, outcome=CallOutcome.BAD_REQUEST)  # about JSON that was not asked for
    verdict: Verdict[V] | None = None
    if reply.outcome in (CallOutcome.ANSWERED, CallOutcome.CUT_BY_LENGTH):
        verdict = asking.question.reader.read(reply, attempt=asking.attempt, max_tokens=asking.max_tokens)
        if isinstance(verdict, Cut) and reply.outcome is CallOutcome.ANSWERED:
            reply = replace(reply, outcome=CallOutcome.CUT_BY_LENGTH, finish_reason="length")
    used_up = asking.attempt >= settings.max_attempts
    step = next_step(
        reply,
        used_up=used_up,
        lengthened=asking.lengthened,
        asked_again=bool(asking.objection),
        served=served,
        busy=busy,
    )
    if reply.outcome is CallOutcome.UNSUPPORTED_SETTING and step is Step.END_RUN:
        if dialect.adapt(reply, asked):
            return CallEnd(Step.RETRY_ADAPTED, reply)
        if asking.unfit is not None:  # the settings were accepted before: only this altered request was not
            step = Step.SETTLE
    if verdict is not None:
        if isinstance(verdict, Cut) and step is not Step.SETTLE:
            return CallEnd(step, reply)
        if isinstance(verdict, AskAgain) and not used_up and asking.asked_again < settings.asked_again_max:
            return CallEnd(Step.ASK_AGAIN, reply, again=verdict)
        return CallEnd(Step.SETTLE, reply, verdict.value)
    if step not in (Step.SETTLE, Step.DOUBT):
        return CallEnd(step, reply)
    why = no_answer(reply, attempt=asking.attempt, unfit=asking.unfit)
    value = asking.question.reader.without_answer(why) if step is Step.SETTLE else None
    return CallEnd(step, reply, value, no_answer=why)

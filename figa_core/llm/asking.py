"""One question while it is asked: what is sent next, and what each reply makes of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic

from figa_core.llm.attempts import Step, next_step, no_answer
from figa_core.llm.calls import CallOutcome
from figa_core.llm.dialect import STRUCTURED, Dialect
from figa_core.llm.question import AskAgain, ChatMessages, Cut, NoAnswer, Question, V, Verdict
from figa_core.llm.reply import Reply
from figa_core.llm.settings import AskerSettings

CUT = "length"
_LONGER = 2  # how many times the tokens, after an answer that was cut


@dataclass(frozen=True, slots=True)
class CallEnd(Generic[V]):
    """How one call ended, and what to do next.

    Attributes:
        value: final, once the step is SETTLE.
        again: why the answer is unfit, and what to send, if the step is ASK_AGAIN.
        no_answer: why there is none, if the step is SETTLE without an answer, or DOUBT.
    """

    step: Step
    reply: Reply
    value: V | None = None
    again: AskAgain[V] | None = None
    no_answer: NoAnswer | None = None


@dataclass(slots=True)
class Asking(Generic[V]):
    """A question and what was learnt about it so far."""

    question: Question[V]
    max_tokens: int
    attempt: int = 1
    lengthened: bool = False
    asked_again: int = 0
    objection: ChatMessages = ()
    unfit: str | None = None  # why the last answer was, if one came
    busy_at: float | None = None  # when the call was sent that the server was first too busy for

    @property
    def messages(self) -> ChatMessages:
        """What is sent: the question, and after an unfit answer that answer with what is wrong with it."""
        return [*self.question.messages, *self.objection]

    def prepare_next(self, end: CallEnd[V]) -> None:
        """Change what is asked for as the last call demands."""
        if end.step is Step.RETRY_LONGER:
            self.max_tokens, self.lengthened = self.max_tokens * _LONGER, True
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
    """What a reply makes of its question.

    `asked` is the request besides the model, `served` says whether the endpoint has answered any call, `busy`
    whether it asks all calls to wait.
    """
    if reply.setting == STRUCTURED and STRUCTURED not in asked:
        reply = replace(reply, outcome=CallOutcome.BAD_REQUEST)  # of JSON that nobody asked for
    verdict: Verdict[V] | None = None
    if reply.outcome in (CallOutcome.ANSWERED, CallOutcome.CUT_BY_LENGTH):
        verdict = asking.question.reader.read(reply, attempt=asking.attempt, max_tokens=asking.max_tokens)
        if isinstance(verdict, Cut) and reply.outcome is CallOutcome.ANSWERED:
            reply = replace(reply, outcome=CallOutcome.CUT_BY_LENGTH, finish_reason=CUT)
    step = next_step(
        reply,
        attempt=asking.attempt,
        max_attempts=settings.max_attempts,
        lengthened=asking.lengthened,
        asked_again=bool(asking.objection),
        served=served,
        busy=busy,
    )
    if reply.outcome is CallOutcome.UNSUPPORTED_SETTING and step is Step.END_RUN:
        if dialect.adapt(reply, asked):
            return CallEnd(Step.RETRY_ADAPTED, reply)
        if asking.unfit is not None:  # what all share was taken before: what was altered was not
            step = Step.SETTLE
    if verdict is not None:
        return _of_answer(asking, reply, verdict, step, settings)
    if step not in (Step.SETTLE, Step.DOUBT):
        return CallEnd(step, reply)
    why = no_answer(reply, attempt=asking.attempt, unfit=asking.unfit)
    value = asking.question.reader.without_answer(why) if step is Step.SETTLE else None
    return CallEnd(step, reply, value, no_answer=why)


def _of_answer(
    asking: Asking[V], reply: Reply, verdict: Verdict[V], step: Step, settings: AskerSettings
) -> CallEnd[V]:
    if isinstance(verdict, Cut) and step is not Step.SETTLE:
        return CallEnd(step, reply)
    if isinstance(verdict, AskAgain) and may_ask_again(asking, settings):
        return CallEnd(Step.ASK_AGAIN, reply, again=verdict)
    return CallEnd(Step.SETTLE, reply, verdict.value)


def may_ask_again(asking: Asking[Any], settings: AskerSettings) -> bool:
    """Whether an unfit answer gets another try with the reason."""
    return asking.asked_again < settings.asked_again_max and asking.attempt < settings.max_attempts

"""What is asked, and how its replies are read: the interface between asking an LLM and what it is asked for.

A `Question` goes in, its final value comes out. This package limits, pays for, journals and repeats the
calls; what a value is, only the question's `Reader` knows. Revising, grading and judging each bring a reader
of their own.

A reader gives one of three verdicts on an answer: `Settled`, `AskAgain` with what is wrong, or `Cut`. A
question that gets no answer at all ends with a `NoAnswer`, of which the reader makes a value too: every
question has a final value, and the journal holds it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from figa_core.llm.reply import Reply

ChatMessages = Sequence[Mapping[str, str]]
"""Messages with `role` and `content`, as the OpenAI protocol has them."""
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Settled(Generic[V_co]):
    """The answer is fit, or no other one would be: `value` is final."""

    value: V_co


@dataclass(frozen=True, slots=True)
class AskAgain(Generic[V_co]):
    """The answer is unfit.

    Attributes:
        value: final if the question may not be asked again.
        reason: what is wrong; recorded with the call.
        messages: sent behind the question: the answer, and what is wrong with it.
    """

    value: V_co
    reason: str
    messages: ChatMessages


@dataclass(frozen=True, slots=True)
class Cut(Generic[V_co]):
    """The answer breaks off: asked again with more room, once. `value` is final if that is no use."""

    value: V_co


Verdict = Settled[V] | AskAgain[V] | Cut[V]


class Ending(StrEnum):
    """How a question ends without a fit answer."""

    REFUSED = "refused"  # by the model or the provider's content filter
    FAILED = "failed"
    UNFIT = "unfit"  # an answer came, and asked for another one the endpoint refused


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why a question has no fit answer, after so many attempts; `retryable`: a later run may ask again."""

    ending: Ending
    reason: str
    attempts: int
    retryable: bool = False


class Reader(Protocol[V_co]):
    """Makes values of replies, for one question. A value is a dataclass that JSON can hold."""

    def read(self, reply: Reply, *, attempt: int, max_tokens: int) -> Verdict[V_co]:
        """Judge an answer, whole or cut (`reply.outcome`); the call allowed it `max_tokens`."""
        ...

    def without_answer(self, why: NoAnswer) -> V_co:
        """The final value of a question without a fit answer."""
        ...


@dataclass(frozen=True, slots=True)
class Decoding:
    """How an answer is to be generated. What the endpoint does not take is left out (`dialect.py`).

    Attributes:
        max_tokens: longest answer; asked for once with twice as many if the answer was cut.
        temperature: None sends none: for models that take none.
        response_format: the structured output to ask for; None asks for none.
    """

    max_tokens: int
    temperature: float | None = 0.0
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Question(Generic[V_co]):
    """One thing to ask.

    Attributes:
        purpose: what for, such as "revision"; stored with every call.
        subject_id: what about: an id that is unique for its purpose.
        answer_tokens: about how many tokens an answer has; sets the rate limiter, not the request.
        mark: tells one version of the subject's text from another under the same id (`calls.text_mark`).
    """

    purpose: str
    subject_id: str
    messages: ChatMessages
    decoding: Decoding
    reader: Reader[V_co]
    answer_tokens: int
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Unaskable(Generic[V_co]):
    """A question that no request can carry, with its final value."""

    purpose: str
    subject_id: str
    value: V_co

"""Questions, and how their replies are read: the interface between this package and those that ask.

A `Question` goes in, its final value comes out. This package limits, pays for, journals and repeats the
calls. Only the question's `Reader` knows what a value is; revising, grading and judging each bring a reader.

A reader's verdict on an answer is `Settled`, `AskAgain` or `Cut`. If a question gets no answer at all, the
reader makes a value of the `NoAnswer`: every question has a final value, and the journal holds it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from figa_core.llm.reply import Reply

ChatMessages = Sequence[Mapping[str, str]]
"""Messages with `role` and `content`, as in the OpenAI protocol."""
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Settled(Generic[V_co]):
    """The answer is fit, or asking again would not help: `value` is final."""

    value: V_co


@dataclass(frozen=True, slots=True)
class AskAgain(Generic[V_co]):
    """The answer is unfit."""

    value: V_co  # final if the question may not be asked again
    reason: str  # recorded with the call
    messages: ChatMessages  # sent after the question: the answer, and what is wrong with it


@dataclass(frozen=True, slots=True)
class Cut(Generic[V_co]):
    """The answer breaks off: it is asked for once more with more tokens. `value` is final if that fails."""

    value: V_co


Verdict = Settled[V] | AskAgain[V] | Cut[V]


class Ending(StrEnum):
    """How a question ends without a fit answer."""

    REFUSED = "refused"  # by the model or the provider's content filter
    FAILED = "failed"
    UNFIT = "unfit"  # an answer came, and the endpoint refused the request for a better one


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why a question has no fit answer."""

    ending: Ending
    reason: str
    attempts: int
    retryable: bool = False  # a later run may ask again


class Reader(Protocol[V_co]):
    """Turns the replies to one question into a value: a dataclass that JSON can hold."""

    def read(self, reply: Reply, *, attempt: int, max_tokens: int) -> Verdict[V_co]:
        """Judge an answer, whole or cut (`reply.outcome`); the call allowed it `max_tokens`."""
        ...

    def without_answer(self, why: NoAnswer) -> V_co:
        """The final value of a question without a fit answer."""
        ...


@dataclass(frozen=True, slots=True)
class Decoding:
    """How an answer is generated. Fields that the endpoint does not support are left out (`dialect.py`)."""

    max_tokens: int  # of an answer; twice as many for the second attempt after a cut one
    temperature: float | None = 0.0  # None sends none
    response_format: Mapping[str, Any] | None = None  # the structured output to ask for


@dataclass(frozen=True, slots=True)
class Question(Generic[V_co]):
    """One thing to ask."""

    purpose: str  # such as "revision"; stored with every call
    subject_id: str  # what the question is about; unique for its purpose
    messages: ChatMessages
    decoding: Decoding
    reader: Reader[V_co]
    answer_tokens: int  # a rough estimate, for the rate limiter
    mark: str | None = None  # identifies the version of the subject's text (`calls.text_mark`)


@dataclass(frozen=True, slots=True)
class Unaskable(Generic[V_co]):
    """A question that no request can carry, with its final value."""

    purpose: str
    subject_id: str
    value: V_co

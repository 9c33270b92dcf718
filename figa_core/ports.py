"""The pipeline's three partners as Protocols: tasks depend on these, adapters implement them."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from figa_core.records import FinishReason, Message, Revision

ProgressCallback = Callable[[int, int], None]
"""Called with (rows done, rows in all); may be called from another thread."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One sample to draw. `prompt_ids` come from the chat template, so every engine sees the same ids."""

    request_id: str
    prompt_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """A sample: ids without the token that ended the turn, and why it ended."""

    request_id: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """One text to score: prompt and answer in the reward model's own template, tokenized."""

    subject_id: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RewardRequest:
    """One answer to rate, for a program or a judge. `fields` are what it asked for of the prompt's row."""

    subject_id: str
    messages: tuple[Message, ...]
    text: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """Two answers to compare, for a judge, in the order in which it is shown them."""

    subject_id: str
    messages: tuple[Message, ...]
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class RevisionRequest:
    """One row for the reviser: the conversation, the weak answer Ŷ, and the reference Y if there is one."""

    revision_id: str
    response_id: str
    messages: tuple[Message, ...]
    response: str
    reference: str | None


@dataclass(frozen=True, slots=True)
class GradeRequest:
    """One pair for the grader. `words` are the places of the changed words in `revision`, in characters."""

    grade_id: str
    messages: tuple[Message, ...]
    response: str
    revision: str
    reference: str | None
    words: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class RowFailure:
    """A row that an engine failed on, and the reason; `row_id` is the request's id.

    Details of the row (a length, an id) are in parentheses at the end: rows are counted by the rest.
    """

    row_id: str
    reason: str


Rewards = Sequence[tuple[str, float] | RowFailure]
"""A batch of (subject id, value), in any order."""


class Generator(Protocol):
    """Draws samples from a model; yields each batch as soon as it is durable or computed."""

    def generate(
        self, requests: Iterable[GenerationRequest]
    ) -> Iterator[Sequence[Generation | RowFailure]]: ...


class Scorer(Protocol):
    """Computes raw reward logits (no sigmoid); yields (subject id, value) batches.

    A value may be NaN or infinite; the score stage decides what that means.
    """

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[Rewards]: ...


class Reviser(Protocol):
    """Asks an LLM for minimal corrections. Yields each row's final state, in any order."""

    def revise(self, requests: Sequence[RevisionRequest]) -> AsyncIterator[Revision]: ...

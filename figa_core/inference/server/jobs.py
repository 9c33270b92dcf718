"""What the pool asks of a server: samples of one prompt each, or the rewards of several texts at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from figa_core.inference.engine import Generating
from figa_core.inference.server import protocol
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest

_TEXTS_PER_REQUEST = 32
"""Without them a reward model answers faster than requests can be made; more would hold up other servers."""


class Work(Protocol):
    """One kind of request. Rows and results are those of `ports`.

    `by_prompt`: jobs are rows with `prompt_ids`, and those of one prompt should go to one server.
    """

    path: ClassVar[str]
    rows_per_job: ClassVar[int]
    by_prompt: ClassVar[bool]

    def body(self, model: str, rows: Sequence[Any]) -> bytes: ...

    def read(self, content: bytes, rows: Sequence[Any]) -> list[Any]:
        """The results. Raises protocol.BadAnswerError and protocol.BadSampleError."""
        ...

    def row_id(self, row: Any) -> str: ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """Samples: one request each, because a request has one seed. The model knows ids below `vocabulary`."""

    path: ClassVar[str] = "/v1/completions"
    rows_per_job: ClassVar[int] = 1
    by_prompt: ClassVar[bool] = True

    settings: Generating
    vocabulary: int

    def body(self, model: str, rows: Sequence[GenerationRequest]) -> bytes:
        return protocol.completion_body(model, rows[0], self.settings)

    def read(self, content: bytes, rows: Sequence[GenerationRequest]) -> list[Generation]:
        return [protocol.read_completion(content, rows[0], self.settings, self.vocabulary)]

    def row_id(self, row: GenerationRequest) -> str:
        return row.request_id


@dataclass(frozen=True, slots=True)
class Rating:
    """Raw rewards; of a model with several labels that of `label`."""

    path: ClassVar[str] = "/classify"
    rows_per_job: ClassVar[int] = _TEXTS_PER_REQUEST
    by_prompt: ClassVar[bool] = False

    label: int | None = None

    def body(self, model: str, rows: Sequence[ScoringRequest]) -> bytes:
        return protocol.classify_body(model, rows)

    def read(self, content: bytes, rows: Sequence[ScoringRequest]) -> list[tuple[str, float]]:
        return protocol.read_rewards(content, rows, self.label)

    def row_id(self, row: ScoringRequest) -> str:
        return row.subject_id


@dataclass(slots=True)
class Job:
    """One request to a server.

    `failures`: how often a server that answers others failed on it; `losses`: how often a server that had
    answered others was lost with it.
    """

    rows: Sequence[Any]
    failures: int = 0
    losses: int = 0

    def halves(self) -> list["Job"]:
        """Two jobs instead of one, to find the row at fault."""
        middle = len(self.rows) // 2
        return [Job(self.rows[:middle]), Job(self.rows[middle:])]


def jobs_of(work: Work, rows: Iterable[Any | RowFailure]) -> Iterator[Job | RowFailure]:
    """The rows of a stream as jobs, in order; failures pass through."""
    group: list[Any] = []
    for row in rows:
        if isinstance(row, RowFailure):
            yield row
            continue
        group.append(row)
        if len(group) == work.rows_per_job:
            yield Job(group)
            group = []
    if group:
        yield Job(group)

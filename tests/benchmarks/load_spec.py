"""The spec and the outcome of the load benchmark's client."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.json_file import JsonFile

BATCHES_AT_ONCE = 2
"""Batches of the reviser that run at the same time (`tasks.revise`)."""
REVISE_BATCH = "revise-batch"


@dataclass(frozen=True, slots=True)
class Spec(JsonFile):
    """The first `rows` of the prompts through the stages, with or without Prefect.

    Attributes:
        base_url: the teacher's address.
        base, reward: directories of the sandbox's models; only their tokenizers are used.
        prefect: run the flow `build-dataset`; otherwise the same stages as plain functions.
        until: the last stage, if not all are wanted.
    """

    rows: int
    prompts: str
    workspace: str
    base: str
    reward: str
    base_url: str
    prefect: bool
    until: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """When something began and ended, in seconds since 1970, like the samples of memory."""

    name: str
    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.ended - self.begun


@dataclass(slots=True)
class Outcome(JsonFile):
    """What a client did.

    Attributes:
        whole: the flow from begin to end, without the process's start and imports.
        stages: each stage, including Prefect's overhead.
        bodies: each task's function, without Prefect.
        generated: numbers of responses, each with the time when they had been drawn.
        revised: pairs whose revision was admitted.
        cpu_s: CPU seconds of all threads of the process during the flow.
    """

    whole: Span = field(default_factory=lambda: Span("", 0.0, 0.0))
    stages: list[Span] = field(default_factory=list)
    bodies: list[Span] = field(default_factory=list)
    generated: list[tuple[int, float]] = field(default_factory=list)
    revised: int = 0
    cpu_s: float = 0.0

    @classmethod
    def parsed(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """With spans."""
        spans = {name: [Span(**span) for span in fields[name]] for name in ("stages", "bodies")}
        return fields | spans | {"whole": Span(**fields["whole"])}

    def outside_share(self) -> float:
        """The share of the wall time outside the tasks' functions.

        The reviser's batches run two at a time, so half the sum of their times counts. The share is an upper
        bound of Prefect's part, because it includes other work of the flow (checks, tables, the reviser's
        start and end, the last batch running alone).
        """
        inside = sum(span.seconds for span in self.bodies if span.name != REVISE_BATCH)
        batches = [span.seconds for span in self.bodies if span.name == REVISE_BATCH]
        if batches:
            inside += sum(batches) / min(BATCHES_AT_ONCE, len(batches))
        return 1.0 - inside / self.whole.seconds

    def outside_by_stage(self) -> Iterator[tuple[str, float]]:
        """Seconds of each stage outside its tasks' functions; see `outside_share`."""
        for stage in self.stages:
            within = [b for b in self.bodies if stage.begun <= b.begun and b.ended <= stage.ended]
            at_once = max(1, min(BATCHES_AT_ONCE, sum(b.name == REVISE_BATCH for b in within)))
            yield stage.name, stage.seconds - sum(b.seconds for b in within) / at_once

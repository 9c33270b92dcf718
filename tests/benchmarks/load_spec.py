"""What the load benchmark's client is told and what it tells, as JSON files."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

BATCHES_AT_ONCE = 2
"""Batches of the reviser that run at a time (`tasks.revise`)."""
REVISE_BATCH = "revise-batch"


@dataclass(frozen=True, slots=True)
class Spec:
    """One client: so many rows of the file of prompts through the stages, with or without Prefect.

    Attributes:
        base_url: the teacher's.
        base, reward: directories of the sandbox's models, of which only the tokenizers are used.
        prefect: the flow `build-dataset` with its task runs; else the same stages as plain functions.
    """

    rows: int
    prompts: str
    workspace: str
    base: str
    reward: str
    base_url: str
    prefect: bool

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Spec":
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when something ran, in seconds since 1970, as the sampled memory has it."""

    name: str
    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.begun


@dataclass(slots=True)
class Outcome:
    """What a client did.

    Attributes:
        whole: the flow, its own begin and end included; the process's start and imports are not.
        stages: each stage as the flow waits for it, what Prefect adds included.
        bodies: each task's own function: nothing of Prefect's.
        generated: when so many responses had been drawn.
        revised: pairs whose revision was admitted.
        cpu_s: CPU seconds of the process between begin and end, all threads.
    """

    whole: Span = field(default_factory=lambda: Span("", 0.0, 0.0))
    stages: list[Span] = field(default_factory=list)
    bodies: list[Span] = field(default_factory=list)
    generated: list[tuple[int, float]] = field(default_factory=list)
    revised: int = 0
    cpu_s: float = 0.0

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        """Read what `save` wrote."""
        read = json.loads(path.read_text(encoding="utf-8"))
        spans = {name: [Span(**span) for span in read[name]] for name in ("stages", "bodies")}
        generated = [(rows, at) for rows, at in read["generated"]]
        return cls(**read | spans | {"whole": Span(**read["whole"]), "generated": generated})

    def outside_share(self) -> float:
        """Share of the wall time that was not spent in the tasks' own functions.

        Batches of the reviser run two at a time, so half the sum of their times counts. That makes it an
        upper bound of what Prefect takes: the flow's own work (checks, tables, the reviser's beginning and
        end, the last batch running alone) is counted too.
        """
        inside = sum(span.seconds for span in self.bodies if span.name != REVISE_BATCH)
        batches = [span.seconds for span in self.bodies if span.name == REVISE_BATCH]
        if batches:
            inside += sum(batches) / min(BATCHES_AT_ONCE, len(batches))
        return 1.0 - inside / self.whole.seconds

    def outside_by_stage(self) -> Iterator[tuple[str, float]]:
        """Seconds of each stage that its tasks' own functions did not take; see `outside_share`."""
        for stage in self.stages:
            within = [b for b in self.bodies if stage.begun <= b.begun and b.ended <= stage.ended]
            at_once = max(1, min(BATCHES_AT_ONCE, sum(b.name == REVISE_BATCH for b in within)))
            yield stage.name, stage.seconds - sum(b.seconds for b in within) / at_once

"""What a step did, a JSON line each in ``metrics.jsonl``: written by rank 0, followed by who started it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from figa_core.files import write_whole


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One optimizer step, over all ranks and micro-batches.

    Attributes:
        step: from 1.
        loss: the objective's sum divided by `counted`; negative tokens make it smaller, below zero too.
        counted: what the sum is divided by: tokens (those whose class carries α or β), or pairs.
        tokens: tokens that went through the model, without padding.
        pairs: pairs of the step.
        seconds: wall time.
        grad_norm: norm of the gradient; None where DeepSpeed does not tell.
        skipped: nothing in the step had a weight, so that no update was made.
        overflowed: the gradient was not finite, so that no update was made.
        figures: what the objective reports besides, by name; None where nothing in the step has it. In the
            file they are side by side with the others.
    """

    step: int
    loss: float
    counted: int
    tokens: int
    pairs: int
    seconds: float
    learning_rate: float
    grad_norm: float | None
    skipped: bool = False
    overflowed: bool = False
    figures: Mapping[str, float | None] = field(default_factory=dict)


_FIELDS = frozenset(each.name for each in fields(StepMetrics)) - {"figures"}


def to_line(metrics: StepMetrics) -> str:
    """One line of the file."""
    own = asdict(metrics)
    return json.dumps(own.pop("figures") | own) + "\n"


def read_metrics(path: Path) -> Iterator[StepMetrics]:
    """The whole lines of the file, in order; a last line that is still being written is left out."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield from_line(line)


def from_line(line: str) -> StepMetrics:
    """What `to_line` wrote, in any release: a number without a field of its own is a figure."""
    found = json.loads(line)
    figures = {
        name: value
        for name, value in found.items()
        if name not in _FIELDS and (value is None or type(value) in (int, float))
    }
    return StepMetrics(**{name: found[name] for name in found.keys() & _FIELDS}, figures=figures)


def keep_until(path: Path, step: int) -> None:
    """Drop what lies behind `step`: a resumed training does those steps again."""
    if not path.is_file():
        return
    kept = [to_line(metrics) for metrics in read_metrics(path) if metrics.step <= step]
    write_whole(path, "".join(kept).encode())

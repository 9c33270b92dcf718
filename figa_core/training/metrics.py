"""What a step did, a JSON line each in ``metrics.jsonl``: written by rank 0, followed by who started it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from figa_core.files import write_whole


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One optimizer step, over all ranks and micro-batches.

    Attributes:
        step: from 1.
        loss: weighted sum divided by N; negative tokens make it smaller, below zero too.
        positive_nll: mean NLL of the tokens with a positive weight; None where there are none.
        negatives_gated_share: share of the tokens with a negative weight that the gate left out; None
            without any.
        counted: N, the tokens whose class carries α or β.
        tokens: tokens that went through the model, without padding.
        pairs: pairs of the step.
        seconds: wall time.
        grad_norm: norm of the gradient; None where DeepSpeed does not tell.
        skipped: nothing in the step had a weight, so that no update was made.
        overflowed: the gradient was not finite, so that no update was made.
    """

    step: int
    loss: float
    positive_nll: float | None
    negatives_gated_share: float | None
    counted: int
    tokens: int
    pairs: int
    seconds: float
    learning_rate: float
    grad_norm: float | None
    skipped: bool = False
    overflowed: bool = False


_FIELDS = frozenset(field.name for field in fields(StepMetrics))


def to_line(metrics: StepMetrics) -> str:
    """One line of the file."""
    return json.dumps(asdict(metrics)) + "\n"


def read_metrics(path: Path) -> Iterator[StepMetrics]:
    """The whole lines of the file, in order; a last line that is still being written is left out."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield from_line(line)


def from_line(line: str) -> StepMetrics:
    """What `to_line` wrote; fields of later releases are left out."""
    return StepMetrics(**{name: value for name, value in json.loads(line).items() if name in _FIELDS})


def keep_until(path: Path, step: int) -> None:
    """Drop what lies behind `step`: a resumed training does those steps again."""
    if not path.is_file():
        return
    kept = [to_line(metrics) for metrics in read_metrics(path) if metrics.step <= step]
    write_whole(path, "".join(kept).encode())

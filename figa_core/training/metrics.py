"""Metrics of the steps, a JSON line each in ``metrics.jsonl``. Rank 0 writes them, the run reads them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from figa_core.errors import DivergedTrainingError
from figa_core.files import write_whole
from figa_core.training.job import TrainingJob

# So many infinite gradients in a row come from the weights, not from the data of a step.
_OVERFLOWS_IN_A_ROW = 20


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One optimizer step, over all ranks and micro-batches.

    Attributes:
        step: counted from 1.
        loss: the objective's sum divided by `counted`; negative tokens can make it negative.
        counted: the divisor: tokens whose class carries α or β, or pairs.
        tokens: tokens that went through the model, without padding.
        seconds: wall time.
        grad_norm: None if DeepSpeed does not report it.
        skipped: nothing in the step had a weight, so no update was made.
        overflowed: the gradient was not finite, so no update was made.
        figures: the objective's other figures by name; None if nothing in the step has one. In the file they
            are on the same level as the rest.
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
    fields = asdict(metrics)
    return json.dumps(fields.pop("figures") | fields) + "\n"


def read_metrics(path: Path) -> list[StepMetrics]:
    """The complete lines of the file, in order; a last line that is still being written is skipped."""
    return read_from(path, 0)[0]


def read_from(path: Path, offset: int) -> tuple[list[StepMetrics], int]:
    """The complete lines from a byte offset on, and the offset after them."""
    if not path.is_file():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        whole, newline, _ = file.read().rpartition(b"\n")
    return [_parsed(line) for line in whole.splitlines()], offset + len(whole + newline)


def _parsed(line: bytes) -> StepMetrics:
    """What `to_line` wrote in any release: a number that is no field of `StepMetrics` is a figure."""
    found = json.loads(line)
    figures = {
        name: value
        for name, value in found.items()
        if name not in _FIELDS and (value is None or type(value) in (int, float))
    }
    return StepMetrics(**{name: found[name] for name in found.keys() & _FIELDS}, figures=figures)


def keep_until(path: Path, step: int) -> None:
    """Drop the lines after `step`: a resumed training does those steps again."""
    if not path.is_file():
        return
    kept = [to_line(metrics) for metrics in read_metrics(path) if metrics.step <= step]
    write_whole(path, "".join(kept).encode())


class MetricsLog:
    """Appends to metrics.jsonl on rank 0, and counts the steps without an update.

    `step` is the last one that was done. `skipped` steps had nothing to learn from, `overflowed` ones a
    gradient that was not finite. On rank 0 the counts include the steps before a resumption.
    """

    def __init__(self, job: TrainingJob, *, after_step: int, active: bool) -> None:
        self._job, self._active = job, active
        self.step, self.skipped, self.overflowed, self._overflows_in_a_row = after_step, 0, 0, 0
        if active:
            keep_until(job.metrics_path, after_step)
            for metrics in read_metrics(job.metrics_path):
                self._count(metrics)

    def write(self, metrics: StepMetrics) -> None:
        """Raises DivergedTrainingError once it is certain that most updates are skipped."""
        self._count(metrics)
        self.step = metrics.step
        if self._active:
            with self._job.metrics_path.open("a", encoding="utf-8") as file:
                file.write(to_line(metrics))
        most = 2 * self.overflowed > self._job.steps - self.skipped
        if most or self._overflows_in_a_row >= _OVERFLOWS_IN_A_ROW:
            raise DivergedTrainingError(
                f"step {metrics.step} of {self._job.steps}: in {self.overflowed} of them the gradient was "
                "not finite, and DeepSpeed skipped the update. The model is hardly trained, so nothing is "
                "exported. Keep the gate on (loss.negative_nll_max), lower the learning rate, train in "
                "float32, or check the weights of the model that the training began from."
            )

    def _count(self, metrics: StepMetrics) -> None:
        self.skipped += metrics.skipped
        self.overflowed += metrics.overflowed
        if not metrics.skipped:
            self._overflows_in_a_row = self._overflows_in_a_row + 1 if metrics.overflowed else 0

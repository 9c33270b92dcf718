"""Rank 0's log of the steps, which ends a training whose updates are mostly left out."""

from figa_core.errors import TrainingError
from figa_core.training.job import TrainingJob
from figa_core.training.metrics import StepMetrics, keep_until, read_metrics, to_line

# The data of a step is not what makes so many gradients in a row infinite: the weights are.
_OVERFLOWS_IN_A_ROW = 20


class MetricsLog:
    """Appends to metrics.jsonl on rank 0, and counts the steps without an update, those before a resumption
    included.
    """

    def __init__(self, job: TrainingJob, *, after_step: int, active: bool) -> None:
        self._job, self._active = job, active
        self.skipped = self.overflowed = self._overflows_in_a_row = 0
        if active:
            keep_until(job.metrics_path, after_step)
            for metrics in read_metrics(job.metrics_path):
                self._count(metrics)

    def write(self, metrics: StepMetrics) -> None:
        """Raises TrainingError once it is certain that most updates are left out."""
        self._count(metrics)
        if self._active:
            with self._job.metrics_path.open("a", encoding="utf-8") as file:
                file.write(to_line(metrics))
        most = 2 * self.overflowed > self._job.steps - self.skipped
        if most or self._overflows_in_a_row >= _OVERFLOWS_IN_A_ROW:
            raise TrainingError(
                f"step {metrics.step} of {self._job.steps}: in {self.overflowed} of them the gradient was "
                "not finite, and DeepSpeed left the update out: the model is hardly trained, so nothing is "
                "exported. Keep the gate on (loss.negative_nll_max), lower the learning rate, train in "
                "float32, or look at the weights of the model that the training began from."
            )

    def _count(self, metrics: StepMetrics) -> None:
        self.skipped += metrics.skipped
        self.overflowed += metrics.overflowed
        if not metrics.skipped:
            self._overflows_in_a_row = self._overflows_in_a_row + 1 if metrics.overflowed else 0

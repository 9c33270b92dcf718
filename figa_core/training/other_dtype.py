"""A training that begins anew beside the same one in another dtype, which is another training by its id."""

from pathlib import Path
from typing import NamedTuple

from figa_core.errors import FigaError
from figa_core.training import checkpoints
from figa_core.training.job import TrainingJob


class InOtherDtype(NamedTuple):
    """An unfinished training that differs from a job in its dtype alone: its directory and last step."""

    directory: Path
    dtype: str
    step: int

    def __str__(self) -> str:
        return (
            f"{self.directory} has a checkpoint of step {self.step} of the same training in {self.dtype}. "
            "The dtype changes the result, so this one does not continue it. To go on from there, set "
            f'training.dtype = "{self.dtype}"; otherwise remove that directory, and its disk space is free'
        )


def begun_in_other_dtype(job: TrainingJob) -> InOtherDtype | None:
    """The one with most steps, among those beside the job's directory."""
    found = (_other(job, path) for path in sorted(job.output.parent.glob("*/job.json")))
    return max(filter(None, found), key=lambda other: other.step, default=None)


def _other(job: TrainingJob, path: Path) -> InOtherDtype | None:
    try:
        other = TrainingJob.from_json(path.read_text(encoding="utf-8"), source=str(path))
        if other.training.dtype == job.training.dtype or _but_for_dtype(other) != _but_for_dtype(job):
            return None
    except (FigaError, OSError, ValueError):  # of another release, or removed meanwhile
        return None
    other = other.model_copy(update={"output": path.parent})  # the workspace may have been moved
    last = checkpoints.last_whole(other)
    return None if last is None else InOtherDtype(path.parent, other.training.dtype, last.step)


def _but_for_dtype(job: TrainingJob) -> tuple[object, ...]:
    settings = {name: value for name, value in job.settings_in_id().items() if name != "dtype"}
    return settings, job.model, job.shards, job.steps

"""Errors of ranks: a small JSON file for each, for the run that started the training.

torchrun reports only that some rank ended, in forty lines; the files hold the error.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from figa_core.errors import DivergedTrainingError, TrainingError, one_line
from figa_core.training.alarms import alarm_that_ends, read_alarms
from figa_core.training.job import TrainingJob


class OtherRankError(TrainingError):
    """This rank stops because of another one, whose error is the cause."""


# What a collective says if another rank is gone: gloo names its source file, NCCL has a class of its own.
_BROKEN = ("Connection closed by peer", "Connection reset by peer", "gloo/transport/")
_BROKEN_KIND = "DistBackendError"


def is_from_another_rank(error: BaseException) -> bool:
    """Whether another rank's error, or its end, is the likely cause of this one."""
    broken = type(error).__name__ == _BROKEN_KIND or any(text in str(error) for text in _BROKEN)
    return broken or isinstance(error, OtherRankError)


@dataclass(frozen=True, slots=True)
class Failure:
    """One rank's error; `secondary` means that another rank's error caused it.

    `where` names its node if there are several. `silent`: the rank could not say so itself.
    """

    rank: int
    kind: str
    message: str
    secondary: bool
    where: str = ""
    silent: bool = False

    @property
    def precedence(self) -> tuple[bool, bool]:
        """The lowest is that of the error which caused the others."""
        return self.secondary, self.silent

    @property
    def origin(self) -> str:
        """Such as "rank 3", or "rank 3 on node 1 (gpu2)"."""
        return f"rank {self.rank}" + (f" on {self.where}" if self.where else "")

    @property
    def diverged(self) -> bool:
        """Whether the same training would end so again."""
        return self.kind == DivergedTrainingError.__name__


def record_failure(
    output: Path, rank: int, error: BaseException, *, secondary: bool, where: str = ""
) -> Failure:
    """Write the error into the training's directory; returns what is written."""
    failure = Failure(rank, type(error).__name__, str(error), secondary, where)
    output.mkdir(parents=True, exist_ok=True)
    write_failure(output, failure)
    return failure


def write_failure(output: Path, failure: Failure) -> None:
    """Write a failure into the training's directory."""
    path = output / f"failure-rank{failure.rank}.json"
    path.write_text(json.dumps(asdict(failure)), encoding="utf-8")


def clear_failures(output: Path) -> None:
    """Remove the files of an earlier attempt."""
    for path in output.glob("failure-rank*.json"):
        path.unlink()


def root_failure(output: Path) -> Failure | None:
    """The error that caused the others; None if no rank could write its own."""
    failures: list[Failure] = []
    for path in sorted(output.glob("failure-rank*.json")):
        try:
            failures.append(Failure(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue  # another machine clears them, or the rank was killed while writing
    return min(failures, key=lambda failure: (*failure.precedence, failure.rank), default=None)


def divergence(output: Path) -> str | None:
    """Why the training in this directory has no result and would have none if it were run again.

    Its numbers were not finite, or an alarm ended it and it was never examined without one. None if it did
    not end so.

    Raises:
        TrainingError: the record of its alarms is damaged.
    """
    failure = root_failure(output)
    if failure is not None and failure.diverged:
        return failure.message
    alarm = alarm_that_ends(read_alarms(output))
    return f"{alarm.text}. {alarm.lesson}" if alarm is not None and alarm.good_step == 0 else None


def full_memory(error: BaseException, job: TrainingJob) -> TrainingError | None:
    """The error to raise instead of PyTorch's `OutOfMemoryError`; None for any other error."""
    if type(error).__name__ != "OutOfMemoryError":  # importing PyTorch for its class would be slow
        return None
    remedies = [f"lower training.tokens_per_batch (now {job.training.tokens_per_batch:,})"]
    if job.training.dtype == "float32":
        remedies.append('set training.dtype to "bfloat16"')
    remedies.append(
        "raise training.processes if there are more GPUs"
        + ("" if job.training.zero_stage == 3 else ", with training.zero_stage 3")
    )
    return TrainingError(
        f"the GPU's memory is full. {remedies[0][0].upper()}{remedies[0][1:]}, {', '.join(remedies[1:])}, or "
        f"train a smaller model. Nothing was exported; the last checkpoint is kept. PyTorch: "
        f"{one_line(error)}"
    )

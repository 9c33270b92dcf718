"""The ranks of a training on this machine, as the process that started them sees them.

This module imports no torch.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import indent
from typing import Protocol

from figa_core.errors import DivergedTrainingError, FigaError, TrainingError
from figa_core.files import last_lines
from figa_core.processes import interruption
from figa_core.training import stop
from figa_core.training.checkpoints import whole_ones
from figa_core.training.failures import root_failure
from figa_core.training.grace import seconds_to_stop
from figa_core.training.job import TrainingJob
from figa_core.training.metrics import StepMetrics, read_from
from figa_core.training.room import bytes_of_checkpoint

_POLL_S = 0.1
_LOG_LINES = 8
_LOOK_EVERY_S = 1.0
_ALONE_S = 10.0

_LOGGER = logging.getLogger("figa_core.training")


def no_problem() -> str | None:
    """The `problem` of a training whose ranks are all here."""
    return None


class Reports(Protocol):
    """What becomes of a training's steps and alarms."""

    def step(self, metrics: StepMetrics, /) -> None: ...
    def alarms(self) -> None: ...


class Launcher(Protocol):
    """The process whose children the ranks are; see `processes.child.Child`."""

    @property
    def exit_code(self) -> int | None: ...
    def kill(self) -> None: ...


class Ranks:
    """The running ranks of a training, seen through their launcher, their metrics and their alarms.

    If the ranks of another node have ended, by a failure that they noted or a `problem`, those here end by
    themselves (`nodes/bonds.py`). If they do not, such as before they have met, they are killed.

    Ranks that are asked to stop get the time for a step and a checkpoint (`grace.py`), then they are killed.
    """

    def __init__(
        self,
        job: TrainingJob,
        launcher: Launcher,
        reports: Reports,
        *,
        done_before: int,
        problem: Callable[[], str | None] = no_problem,
        alone_s: float = _ALONE_S,
        stop_reason: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._job, self._launcher, self._done_before = job, launcher, done_before
        self._reports, self._problem, self._alone_s = reports, problem, alone_s
        self._stop_reason, self._clock, self._sleep = stop_reason, clock, sleep
        self._look_at, self._alone_since = 0.0, float("inf")
        self._offset = self._last_step = 0
        self._slowest_s = 0.0
        self._kill_at: float | None = None

    def follow(self) -> int:
        """Report steps and alarms until the process ends; return its exit code."""
        while True:
            code = self._launcher.exit_code
            for metrics in self._new_steps():
                self._reports.step(metrics)
            self._reports.alarms()
            if code is not None:
                return code
            if interruption.requested():
                self._stop()
            if self._job.training.nodes > 1 and self._are_alone():
                self._launcher.kill()
            self._sleep(_POLL_S)

    def end(self) -> None:
        """Stop the ranks if an exception in `follow` left them running."""
        try:
            while self._launcher.exit_code is None:
                self._stop()
                self._sleep(_POLL_S)
        finally:
            self._launcher.kill()

    def _new_steps(self) -> Iterator[StepMetrics]:
        found, self._offset = read_from(self._job.metrics_path, self._offset)
        for metrics in found:
            if metrics.step > self._last_step:
                self._last_step = metrics.step
                self._slowest_s = max(self._slowest_s, metrics.seconds)
                yield metrics

    def _are_alone(self) -> bool:
        """Whether those of another node ended some time ago."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            if self._problem() is not None or root_failure(self._job.output) is not None:
                self._alone_since = min(self._alone_since, now)
        return now - self._alone_since > self._alone_s

    def _stop(self) -> None:
        """Ask once; kill if no step would be lost, or when the time is up."""
        if self._kill_at is None:
            stop.ask(self._job.output, self._stop_reason)
            self._kill_at = self._clock() + self._seconds_to_stop()
        if self._clock() >= self._kill_at:
            self._launcher.kill()  # its ranks die with it

    def _seconds_to_stop(self) -> float:
        """The time that the ranks get; none if no step would be lost."""
        if self._last_step <= self._done_before:
            return 0.0
        size, written = 0, whole_ones(self._job)
        with suppress(FigaError, OSError):  # the model's directory may be away
            size = bytes_of_checkpoint(self._job)
        last_s = written[-1].write_seconds if written else None
        seconds = seconds_to_stop(size, last_checkpoint_s=last_s, slowest_step_s=self._slowest_s)
        _LOGGER.info(
            "training %s is asked to stop: it gets up to %.0f s to finish its step and to write a checkpoint "
            "of %.3g GB",
            self._job.training_id,
            seconds,
            size / 1e9,
        )
        return seconds


def failure_of(job: TrainingJob, log_path: Path, otherwise: str, problem: str | None = None) -> TrainingError:
    """The error of a training that stopped: the ranks' own, the `problem` of another node, or the log's."""
    failure = root_failure(job.output)
    if failure is not None and not (failure.secondary and problem):
        ours = failure.kind in (TrainingError.__name__, DivergedTrainingError.__name__)
        what = failure.message if ours else f"{failure.kind}: {failure.message}"
        kind = DivergedTrainingError if failure.diverged else TrainingError
        return kind(f"training {job.training_id} stopped, {failure.origin}: {what}\nFull log: {log_path}")
    if problem is not None:
        return TrainingError(f"training {job.training_id} stopped: {problem}\nFull log: {log_path}")
    tail = indent(last_lines(log_path, _LOG_LINES), "  ")
    return TrainingError(
        f"training {job.training_id} stopped: {otherwise}. A rank that is killed without a message is often "
        f"out of memory. Last lines of {log_path}:\n{tail}"
    )

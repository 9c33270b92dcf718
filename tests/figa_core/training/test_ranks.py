"""The ranks here, when those of another node have ended."""

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import TrainingError
from figa_core.processes.child import Child
from figa_core.training import saving, stop
from figa_core.training.checkpoints import checkpoint_of
from figa_core.training.failures import Failure, record_failure, write_failure
from figa_core.training.grace import seconds_to_stop
from figa_core.training.job import TrainingJob
from figa_core.training.metrics import StepMetrics, to_line
from figa_core.training.ranks import Ranks, failure_of
from tests.figa_core.training.jobs import MakeJob


class Silence:
    def step(self, _metrics: StepMetrics) -> None: ...

    def alarms(self) -> None: ...


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Child]:
    started = Child([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
    yield started
    started.kill()


@pytest.fixture
def job(make_job: MakeJob) -> TrainingJob:
    made = make_job(nodes=2)
    made.output.mkdir()
    return made


def test_ranks_that_wait_for_others_which_will_not_come_are_ended(job: TrainingJob, launcher: Child) -> None:
    ranks = Ranks(job, launcher, Silence(), done_before=0, problem=lambda: "node 1 is gone", alone_s=0.1)
    assert ranks.follow() != 0


def test_a_failure_that_another_node_noted_ends_them_too(job: TrainingJob, launcher: Child) -> None:
    record_failure(job.output, 3, TrainingError("no room"), secondary=False, where="node 1 (gpu2)")
    begun = time.monotonic()
    assert Ranks(job, launcher, Silence(), done_before=0, alone_s=0.5).follow() != 0
    assert time.monotonic() - begun >= 0.5, "they get the time to end by themselves"


def test_the_error_is_that_of_the_node_which_ended_first(job: TrainingJob, tmp_path: Path) -> None:
    def error(problem: str | None = None) -> str:
        return str(failure_of(job, tmp_path / "log", "the launcher ended with code 1", problem))

    assert "the launcher ended with code 1" in error()
    record_failure(job.output, 0, RuntimeError("Connection closed by peer"), secondary=True)
    assert "rank 0: RuntimeError: Connection closed by peer" in error()
    assert "stopped: the run 'node 1' ended as Crashed" in error("the run 'node 1' ended as Crashed")
    write_failure(job.output, Failure(3, "TrainingError", "no room", secondary=False, where="node 1 (gpu2)"))
    assert "stopped, rank 3 on node 1 (gpu2): no room" in error("the run 'node 1' ended as Failed")


class SlowLauncher:
    """Its ranks end so many seconds after they were asked to stop, by a clock that only waiting moves."""

    def __init__(self, job: TrainingJob, needs_s: float) -> None:
        self._job, self._needs_s = job, needs_s
        self._asked_at: float | None = None
        self.now, self.killed_at = 1000.0, 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def exit_code(self) -> int | None:
        if self.killed_at:
            return -9
        if self._asked_at is None and (self._job.output / "stop").exists():
            self._asked_at = self.now
        done = self._asked_at is not None and self.now - self._asked_at >= self._needs_s
        return 0 if done else None

    def kill(self) -> None:
        if self.exit_code is None:
            self.killed_at = self.now


def stopped(job: TrainingJob, launcher: SlowLauncher, *, done_before: int = 0) -> SlowLauncher:
    """Follow its ranks for a moment, then let an exception end them."""
    launcher_of: dict[str, Any] = {"clock": launcher.clock, "sleep": launcher.sleep}
    ranks = Ranks(job, launcher, Interrupting(), done_before=done_before, **launcher_of)
    with pytest.raises(KeyboardInterrupt):
        ranks.follow()
    ranks.end()
    return launcher


class Interrupting(Silence):
    def alarms(self) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def one_step_done(job: TrainingJob) -> TrainingJob:
    step = StepMetrics(1, 0.5, 10, 20, 4, seconds=5.0, learning_rate=1e-3, grad_norm=1.0)
    job.metrics_path.write_text(to_line(step))
    return job


def written_in(job: TrainingJob, seconds: float) -> None:
    """A checkpoint that took so long."""

    def write(directory: Path, tag: str) -> list[Path]:
        (directory / tag).mkdir()
        return []

    checkpoint = checkpoint_of(job, 1, 1.0)
    saving.save(job, checkpoint, write)
    saving.mark_whole(job, checkpoint, begun=time.monotonic() - seconds)


def test_a_training_whose_checkpoints_take_long_gets_twice_that_time_to_stop(
    one_step_done: TrainingJob, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="figa_core")
    written_in(one_step_done, 200.0)
    assert not stopped(one_step_done, SlowLauncher(one_step_done, 399.0)).killed_at
    assert "asked to stop: it gets up to 410 s to finish its step and to write a check" in caplog.text
    stop.forget(one_step_done.output)
    assert stopped(one_step_done, SlowLauncher(one_step_done, 420.0)).killed_at >= 1000 + 400


def test_a_small_training_is_killed_after_a_minute_and_two_steps(one_step_done: TrainingJob) -> None:
    assert not stopped(one_step_done, SlowLauncher(one_step_done, 69.0)).killed_at
    stop.forget(one_step_done.output)
    assert stopped(one_step_done, SlowLauncher(one_step_done, 80.0)).killed_at == pytest.approx(1070, abs=1)


def test_a_training_whose_models_directory_is_away_gets_its_time_all_the_same(
    one_step_done: TrainingJob, tmp_path: Path
) -> None:
    away = one_step_done.model_copy(update={"model": tmp_path / "away"})
    assert not stopped(away, SlowLauncher(away, 69.0)).killed_at


def test_a_training_without_a_new_step_has_nothing_to_write(one_step_done: TrainingJob) -> None:
    assert stopped(one_step_done, SlowLauncher(one_step_done, 9.0), done_before=1).killed_at == 1000


def test_a_large_first_checkpoint_gets_its_time_by_its_size() -> None:
    assert seconds_to_stop(112 * 10**9, last_checkpoint_s=None, slowest_step_s=10) == 580
    assert seconds_to_stop(112 * 10**9, last_checkpoint_s=400, slowest_step_s=10) == 820
    assert seconds_to_stop(10**9, last_checkpoint_s=1, slowest_step_s=0) == 60

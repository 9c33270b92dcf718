"""A training that is asked to stop writes a checkpoint, leaves no process, and goes on from there."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from figa_core.errors import InterruptedRunError, TrainingError
from figa_core.processes import interruption
from figa_core.training import checkpoints
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, read_metrics
from tests.figa_core.training.jobs import (
    STEPS,
    Finished,
    changed,
    launcher_of,
    ranks_of,
    training_job,
    wait_until,
)

pytestmark = pytest.mark.distributed


@pytest.fixture(autouse=True)
def _nobody_asked() -> Iterator[None]:
    interruption.clear()
    yield
    interruption.clear()


def same_as_undisturbed(job: TrainingJob, finished: Finished, log_path: Path) -> None:
    _, undisturbed, seen = finished
    result = run_training(job, log_path=log_path)
    metrics = list(read_metrics(result.metrics_path))
    assert [m.step for m in metrics] == list(range(1, STEPS + 1))
    assert [m.loss for m in metrics] == pytest.approx([m.loss for m in seen], abs=1e-5)
    expected = load_file(undisturbed.model_dir / "model.safetensors")
    found = load_file(result.model_dir / "model.safetensors")
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) <= 1e-6


def test_a_run_that_is_asked_to_stop_ends_its_training_with_a_checkpoint_and_goes_on_from_it(
    finished: Finished, model_dir: Path, shards_dir: Path, tmp_path: Path
) -> None:
    """Checkpoints are due every 10 steps: the one of this training was written for the stop."""
    job = training_job(model_dir, shards_dir, tmp_path / "stopped")

    def ask(metrics: StepMetrics) -> None:
        if metrics.step == 13:
            interruption.request()

    with pytest.raises(InterruptedRunError):
        run_training(job, on_step=ask, log_path=tmp_path / "log")
    assert not ranks_of(job)
    assert checkpoints.read_manifest(job.output) is None
    last = checkpoints.last_whole(job)
    assert last is not None
    assert 13 <= last.step < STEPS
    assert [m.step for m in read_metrics(job.metrics_path)] == list(range(1, last.step + 1))
    interruption.clear()
    same_as_undisturbed(job, finished, tmp_path / "log")


@pytest.mark.slow
def test_ranks_that_a_scheduler_ends_write_a_checkpoint_and_the_run_says_how_it_goes_on(
    finished: Finished, model_dir: Path, shards_dir: Path, tmp_path: Path
) -> None:
    """One of two ranks gets the signal: they agree on the step before they stop."""
    job = training_job(model_dir, shards_dir, tmp_path / "signalled")

    def signal_one(metrics: StepMetrics) -> None:
        if metrics.step == 13:
            launcher = launcher_of(job).pid
            os.kill(max(pid for pid in ranks_of(job) if pid != launcher), signal.SIGTERM)

    with pytest.raises(TrainingError, match=r"stopped on request after step \d+ of 60.* run again"):
        run_training(job, on_step=signal_one, log_path=tmp_path / "log")
    last = checkpoints.last_whole(job)
    assert last is not None
    assert last.step >= 13
    same_as_undisturbed(job, finished, tmp_path / "log")


@pytest.mark.slow
def test_an_exception_where_the_training_is_followed_stops_it_with_a_checkpoint_too(
    model_dir: Path, shards_dir: Path, tmp_path: Path
) -> None:
    """So an orchestrator ends a run: by an exception in the main thread."""
    job = training_job(model_dir, shards_dir, tmp_path / "thrown", processes=1)

    def throw(metrics: StepMetrics) -> None:
        if metrics.step == 3:
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        run_training(job, on_step=throw, log_path=tmp_path / "log")
    assert not ranks_of(job)
    last = checkpoints.last_whole(job)
    assert last is not None
    assert last.step >= 3


def test_a_training_without_a_step_yet_is_ended_at_once(
    model_dir: Path, shards_dir: Path, tmp_path: Path
) -> None:
    job = training_job(model_dir, shards_dir, tmp_path / "early")

    def ask_when_it_runs() -> None:
        if wait_until(lambda: bool(ranks_of(job)), 60):
            interruption.request()

    thread = threading.Thread(target=ask_when_it_runs)
    thread.start()
    with pytest.raises(InterruptedRunError):
        run_training(job, log_path=tmp_path / "log")
    thread.join()
    assert wait_until(lambda: not ranks_of(job), 10)
    assert not list(read_metrics(job.metrics_path))


def test_who_waits_for_another_process_at_the_same_training_stops_waiting(
    model_dir: Path, shards_dir: Path, tmp_path: Path
) -> None:
    job = training_job(model_dir, shards_dir, tmp_path / "held")
    holder = (
        "import sys, time\nfrom filelock import FileLock\n"
        "FileLock(sys.argv[1]).acquire()\nprint('held', flush=True)\ntime.sleep(60)"
    )
    lock = str(tmp_path / "held.lock")
    with subprocess.Popen([sys.executable, "-c", holder, lock], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        threading.Timer(0.3, interruption.request).start()
        begun = time.monotonic()
        with pytest.raises(InterruptedRunError):
            run_training(job, log_path=tmp_path / "log")
        assert time.monotonic() - begun < 30
        process.kill()


def test_what_an_earlier_attempt_was_asked_does_not_stop_the_next(
    model_dir: Path, shards_dir: Path, tmp_path: Path
) -> None:
    job = training_job(model_dir, shards_dir, tmp_path / "again", processes=1)
    job = changed(job, steps=2)
    job.output.mkdir()
    (job.output / "stop").touch()
    assert run_training(job, log_path=tmp_path / "log").steps == 2

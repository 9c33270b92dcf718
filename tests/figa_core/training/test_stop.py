"""A training that is asked to stop writes a checkpoint, leaves no process, and resumes from there."""

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
    MakeJob,
    last_step,
    launcher_of,
    ranks_of,
    wait_until,
)

pytestmark = pytest.mark.distributed


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    interruption.clear()
    yield
    interruption.clear()


def assert_same_as_undisturbed(job: TrainingJob, finished: Finished, log_path: Path) -> None:
    undisturbed, _, seen = finished
    run_training(job, log_path=log_path)
    metrics = list(read_metrics(job.metrics_path))
    assert [m.step for m in metrics] == list(range(1, STEPS + 1))
    assert [m.loss for m in metrics] == pytest.approx([m.loss for m in seen], abs=1e-5)
    expected = load_file(undisturbed.model_dir / "model.safetensors")
    found = load_file(job.model_dir / "model.safetensors")
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) <= 1e-6


def test_a_run_that_is_asked_to_stop_ends_its_training_with_a_checkpoint_and_resumes_from_it(
    finished: Finished, make_job: MakeJob, tmp_path: Path
) -> None:
    """Checkpoints are due every 10 steps: the one of this training was written for the stop."""
    job = make_job(processes=2)

    def ask(metrics: StepMetrics) -> None:
        if metrics.step == 13:
            interruption.request()

    with pytest.raises(InterruptedRunError):
        run_training(job, on_step=ask, log_path=tmp_path / "log")
    assert not ranks_of(job)
    assert checkpoints.read_manifest(job.output) is None
    last = last_step(job)
    assert 13 <= last < STEPS
    assert [m.step for m in read_metrics(job.metrics_path)] == list(range(1, last + 1))
    interruption.clear()
    assert_same_as_undisturbed(job, finished, tmp_path / "log")


@pytest.mark.slow
def test_ranks_that_a_scheduler_ends_write_a_checkpoint_and_the_error_says_how_to_continue(
    finished: Finished, make_job: MakeJob, tmp_path: Path
) -> None:
    """One of two ranks gets the signal: they agree on the step before they stop."""
    job = make_job(processes=2)

    def signal_one(metrics: StepMetrics) -> None:
        if metrics.step == 13:
            launcher = launcher_of(job).pid
            os.kill(max(pid for pid in ranks_of(job) if pid != launcher), signal.SIGTERM)

    with pytest.raises(TrainingError, match=r"stopped on request after step \d+ of 60.* run again"):
        run_training(job, on_step=signal_one, log_path=tmp_path / "log")
    assert last_step(job) >= 13
    assert_same_as_undisturbed(job, finished, tmp_path / "log")


@pytest.mark.slow
def test_a_scheduler_that_signals_every_process_of_a_training_gets_a_checkpoint(
    make_job: MakeJob, tmp_path: Path
) -> None:
    """The ranks get the signal from the scheduler, and their launcher has it as well."""
    job = make_job(processes=2)

    def signal_all(metrics: StepMetrics) -> None:
        if metrics.step == 13:
            for pid in ranks_of(job):
                os.kill(pid, signal.SIGTERM)

    begun = time.monotonic()
    with pytest.raises(TrainingError, match=r"stopped on request after step \d+ of 60.* run again"):
        run_training(job, on_step=signal_all, log_path=tmp_path / "log")
    assert time.monotonic() - begun < 120
    assert not ranks_of(job)
    assert last_step(job) >= 13


@pytest.mark.slow
def test_an_exception_while_a_training_is_followed_stops_it_with_a_checkpoint(
    make_job: MakeJob, tmp_path: Path
) -> None:
    """An orchestrator ends a run by an exception in the main thread."""
    job = make_job()

    def throw(metrics: StepMetrics) -> None:
        if metrics.step == 3:
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        run_training(job, on_step=throw, log_path=tmp_path / "log")
    assert not ranks_of(job)
    assert last_step(job) >= 3


def test_a_training_that_has_no_step_yet_is_killed_at_once(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(processes=2)

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


def test_a_run_that_waits_for_another_with_the_same_training_can_be_stopped(
    make_job: MakeJob, tmp_path: Path
) -> None:
    holder = (
        "import sys, time\nfrom filelock import FileLock\n"
        "FileLock(sys.argv[1]).acquire()\nprint('held', flush=True)\ntime.sleep(60)"
    )
    lock = str(tmp_path / "out.lock")
    with subprocess.Popen([sys.executable, "-c", holder, lock], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        threading.Timer(0.3, interruption.request).start()
        begun = time.monotonic()
        with pytest.raises(InterruptedRunError):
            run_training(make_job(), log_path=tmp_path / "log")
        assert time.monotonic() - begun < 30
        process.kill()


STOPPING = """
import sys, time
from pathlib import Path
from figa_core.training.stop import PassedOnStop, StopRequest
stop = (PassedOnStop if sys.argv[1] == "launcher" else StopRequest)(Path(sys.argv[2]))
print("ready", flush=True)
while True:
    time.sleep(0.02)
    if stop():
        print("asked", flush=True)
        time.sleep(30)
"""


@pytest.mark.parametrize("who", ["rank", "launcher"])
def test_a_signal_that_arrives_twice_at_once_is_one_request_and_a_later_one_ends_the_process(
    who: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", STOPPING, who, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "asked\n"
        assert (tmp_path / "stop").exists() == (who == "launcher")
        time.sleep(1.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM


def test_a_request_to_an_earlier_attempt_does_not_stop_the_next(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(steps=2)
    job.output.mkdir()
    (job.output / "stop").touch()
    assert run_training(job, log_path=tmp_path / "log").steps == 2

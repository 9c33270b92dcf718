"""Two processes that are given the same training: one trains, the other waits and takes the result."""

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from figa_core.training.job import TrainingJob
from figa_core.training.launch import TrainingResult, run_training
from figa_core.training.metrics import read_metrics
from tests.figa_core.training.jobs import changed, training_job

pytestmark = pytest.mark.distributed

STEPS = 150
OTHER = """
import sys
from pathlib import Path
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
job = TrainingJob.from_json(Path(sys.argv[1]).read_text())
run_training(job, on_step=lambda step: print(step.step, flush=True), log_path=Path(sys.argv[2]))
"""


@pytest.fixture
def job(model_dir: Path, shards_dir: Path, tmp_path: Path) -> TrainingJob:
    job = training_job(model_dir, shards_dir, tmp_path / "out", processes=1)
    return changed(job, steps=STEPS)


class Waiting(threading.Thread):
    """The same training once more, in a thread of this process."""

    def __init__(self, job: TrainingJob, log_path: Path) -> None:
        super().__init__(daemon=True)
        self._job, self._log_path = job, log_path
        self.result: TrainingResult | None = None

    def run(self) -> None:
        self.result = run_training(self._job, log_path=self._log_path)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="figa_core")
    return caplog


def wait_for(told: pytest.LogCaptureFixture, text: str) -> None:
    deadline = time.monotonic() + 60
    while not any(text in message for message in told.messages):
        assert time.monotonic() < deadline, told.messages
        time.sleep(0.02)


def test_the_second_waits_and_takes_what_the_first_trained(
    job: TrainingJob, tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    second = Waiting(job, tmp_path / "second.log")
    first = run_training(
        job, on_step=lambda s: second.start() if s.step == 1 else None, log_path=tmp_path / "log"
    )
    second.join()
    assert second.result == first
    assert not (tmp_path / "second.log").exists()  # it started nothing
    trains = (
        "objective figa: 89,152 parameters in float32, ZeRO-1 on 1 rank(s) (cpu), 24 pairs in packed rows; "
        f"{STEPS} steps from the start"
    )
    waits = "training training-test: another process is at it; waiting for its result"
    starts, *then = told.messages
    assert starts == f"training training-test starts; full log: {tmp_path / 'log'}"
    assert sorted(then) == sorted([trains, waits])  # what a rank says comes through its log, a little late


def test_when_the_first_is_killed_the_second_goes_on(
    job: TrainingJob, tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    job_path = tmp_path / "job.json"
    job_path.write_text(job.to_json())
    command = [sys.executable, "-c", OTHER, str(job_path), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "1\n"
        second = Waiting(job, tmp_path / "second.log")
        second.start()
        wait_for(told, "waiting for its result")
        while first.stdout.readline() not in ("20\n", ""):
            pass
        first.kill()
    second.join()
    assert second.result is not None
    assert [metrics.step for metrics in read_metrics(job.metrics_path)] == list(range(1, STEPS + 1))
    assert told.messages[-1].rpartition("; ")[2].startswith("resumes after step ")

"""Two processes with the same training: one trains, the other waits and returns the same result."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from figa_core.training.checkpoints import TrainingManifest
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import read_metrics
from tests.figa_core.training.jobs import MakeJob, wait_until

pytestmark = pytest.mark.distributed

STEPS = 150
EXAMINES = "the model is examined for damage"
OTHER = """
import sys
from pathlib import Path
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
job = TrainingJob.from_json(Path(sys.argv[1]).read_text())
run_training(job, on_step=lambda step: print(step.step, flush=True), log_path=Path(sys.argv[2]))
"""


@pytest.fixture
def job(make_job: MakeJob) -> TrainingJob:
    return make_job(steps=STEPS)


class Waiting(threading.Thread):
    """The same training again, in a thread of this process."""

    def __init__(self, job: TrainingJob, log_path: Path) -> None:
        super().__init__(daemon=True)
        self._job, self._log_path = job, log_path
        self.result: TrainingManifest | None = None

    def run(self) -> None:
        self.result = run_training(self._job, log_path=self._log_path)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="figa_core")
    return caplog


def test_the_second_waits_and_returns_the_result_of_the_first(
    job: TrainingJob, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    second = Waiting(job, tmp_path / "second.log")
    first = run_training(
        job, on_step=lambda s: second.start() if s.step == 1 else None, log_path=tmp_path / "log"
    )
    second.join()
    assert second.result == first
    assert not (tmp_path / "second.log").exists()  # it started nothing
    trains = (
        "objective figa: 89,152 parameters in float32, ZeRO-1 on 1 rank(s) (cpu), 24 pairs in packed rows, "
        f"with shared beginnings; {STEPS} steps from the start"
    )
    device = "no GPU is seen here: the training runs on the CPU"
    waits = "training training-test: another process is working on it; waiting for its result"
    room, starts, *then = log.messages
    assert room.startswith("training training-test: a checkpoint takes ")
    assert starts == f"training training-test starts; full log: {tmp_path / 'log'}"
    # A rank's messages come through its log, a little late.
    assert sorted(line for line in then if not line.startswith(EXAMINES)) == sorted([device, trains, waits])


@pytest.mark.slow
def test_if_the_first_is_killed_the_second_resumes_the_training(
    job: TrainingJob, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    job_path = tmp_path / "job.json"
    job_path.write_text(job.model_dump_json())
    command = [sys.executable, "-c", OTHER, str(job_path), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "1\n"
        second = Waiting(job, tmp_path / "second.log")
        second.start()
        assert wait_until(lambda: any("waiting for its result" in line for line in log.messages), 60)
        while first.stdout.readline() not in ("20\n", ""):
            pass
        first.kill()
    second.join()
    assert second.result is not None
    assert [metrics.step for metrics in read_metrics(job.metrics_path)] == list(range(1, STEPS + 1))
    trains, examines = log.messages[-2:]
    assert trains.rpartition("; ")[2].startswith("resumes after step ")
    assert examines.startswith(EXAMINES)

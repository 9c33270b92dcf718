"""The ranks here, when those of another node have ended."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from figa_core.errors import TrainingError
from figa_core.processes.child import Child
from figa_core.training.failures import Failure, record_failure, write_failure
from figa_core.training.job import TrainingJob
from figa_core.training.metrics import StepMetrics
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

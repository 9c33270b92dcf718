"""Whatever is killed, the UI shows it, no process is left behind, and a retry finishes the work."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.deployments.conftest import BACKENDS, form
from tests.deployments.operation import Operation, kill_all

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(900)]

SHOWN_WITHIN_S = 120.0
SECOND_REPORT_S = 15.0


@pytest.fixture(params=BACKENDS)
def serving(request: pytest.FixtureRequest) -> Operation:
    """On SQLite, and on PostgreSQL with Redis."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def teacher() -> Iterator[TeacherProcess]:
    with TeacherProcess(latency_s=0.4) as process:
        yield process


class Run:
    """A `figa` run that is slow enough to be killed while it revises or trains."""

    def __init__(self, serving: Operation, config: dict[str, Any], teacher: TeacherProcess) -> None:
        self.serving, self.teacher, self.config = serving, teacher, config
        self.workspace = Path(config["workspace"]["path"])
        self.id = serving.run("figa", config=config)

    def until_it_revises(self) -> None:
        self.serving.wait_for(lambda: self.teacher.requests() >= 6)

    def until_it_trains(self) -> dict[str, Any]:
        """The training's flow run, once a checkpoint exists."""
        self.serving.wait_for(lambda: list(self.workspace.glob("trainings/*/checkpoints/*/whole.json")), 240)
        [training] = self.serving.children_of(self.id)
        return training

    def processes(self) -> list[psutil.Process]:
        """All processes below the two Prefect workers: engine, ranks, vLLM workers."""
        workers = self.serving.processes("prefect worker start")
        return [child for worker in workers for child in worker.children(recursive=True)]

    def state_after(self, killed_at: float, run: str | None = None) -> str:
        """The final state, which must be shown within two minutes."""
        ended = self.serving.ended(run or self.id, SHOWN_WITHIN_S)
        assert time.monotonic() - killed_at < SHOWN_WITHIN_S
        return ended["state_name"]

    def finishes_on_retry(self) -> None:
        # Prefect's worker reports a killed run twice, about eight seconds apart; the second report takes the
        # slot from a run that was retried in between.
        time.sleep(SECOND_REPORT_S)
        self.serving.retry(self.id)
        self.serving.in_state(self.id, "Running", "Retrying")
        self._finishes(self.id)

    def finishes_by_retry_revisions(self) -> None:
        """With the deployment, which gets only the workspace, instead of the run's Retry button."""
        again = self.serving.run("retry-revisions", workspace=str(self.workspace))
        assert self._finishes(again)["name"] == "workspace: retry the latest run"

    def _finishes(self, run: str) -> dict[str, Any]:
        ended = self.serving.ended(run, 400)
        assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
        assert list(self.workspace.glob("reports/*.html"))
        return ended


@pytest.fixture
def run(serving: Operation, sandbox: Sandbox, teacher: TeacherProcess, tmp_path: Path) -> Run:
    config = form(tmp_path, sandbox, teacher.base_url, training={"max_steps": 60, "checkpoint_steps": 5})
    config["revision"]["max_concurrency"] = 4
    return Run(serving, config, teacher)


def _gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []


def test_a_killed_flow_process(run: Run) -> None:
    run.until_it_revises()
    mine = run.processes()
    killed = [process for process in mine if "deployments.engine" in " ".join(process.cmdline())]
    assert killed
    at = time.monotonic()
    kill_all(killed)
    assert run.state_after(at) == "Crashed"
    _gone(mine)
    run.finishes_by_retry_revisions()


def test_a_killed_worker(run: Run) -> None:
    run.until_it_revises()
    mine = run.processes()
    at = time.monotonic()
    kill_all(run.serving.processes("--pool cpu"))
    assert run.state_after(at) == "Crashed"
    _gone(mine)
    run.finishes_on_retry()


def test_a_server_that_restarts_in_the_middle_of_a_run(run: Run) -> None:
    """The run continues and keeps its slot (see tests/flows/server/test_process.py)."""
    run.until_it_revises()
    kill_all(run.serving.processes("flows.server"))
    assert run.serving.ended(run.id, 600)["state_type"] == "COMPLETED"


def test_a_killed_training_rank(run: Run) -> None:
    training = run.until_it_trains()
    ranks = [p for p in run.processes() if "figa_core.training" in " ".join(p.cmdline())]
    at = time.monotonic()
    kill_all([max(ranks, key=lambda process: process.pid)])
    assert run.state_after(at, training["id"]) == "Failed"
    assert run.state_after(at) == "Failed"
    _gone(ranks)
    run.finishes_on_retry()
    children = run.serving.children_of(run.id)
    lines = [line["message"] for child in children for line in run.serving.logs(child["id"])]
    assert any("resumes after step" in line for line in lines)


def test_everything_killed_at_once_and_started_again(run: Run) -> None:
    run.until_it_trains()
    everything = run.serving.processes()
    kill_all(everything)
    _gone(everything)
    run.serving.start()
    assert run.state_after(time.monotonic()) == "Crashed"
    run.finishes_on_retry()


def test_ctrl_c_stops_everything_and_the_run_is_shown_as_crashed(run: Run) -> None:
    run.until_it_revises()
    assert run.serving.stop() == []
    run.serving.start()
    assert run.state_after(time.monotonic()) == "Crashed"
    run.finishes_on_retry()

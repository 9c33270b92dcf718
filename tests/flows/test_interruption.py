"""One signal stops a whole run in any stage: in words, with its code, leaving nothing behind."""

import json
import signal
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import psutil
import pytest

from figa_core.sandbox.teacher_process import TeacherProcess
from flows.server.process import PrefectServer

from .conftest import Project

pytestmark = pytest.mark.distributed
_WAIT_S = 200.0


class Stopped:
    """A run that was stopped by a signal when it had reached `there`."""

    def __init__(self, project: Project, there: Callable[[], object], number: int) -> None:
        log = project.directory / "run.log"
        with log.open("wb") as output:
            process = project.start("run", "--config", str(project.config), stdout=output)
        deadline = time.monotonic() + _WAIT_S
        while not there():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        self.code = process.wait(timeout=60)
        self.output = log.read_text(encoding="utf-8")
        self.left = psutil.wait_procs(children, timeout=10)[1]
        status = project.figa("status", "-w", str(project.workspace), "--json").stdout
        [self.run] = json.loads(status)["runs"]


def _said(project: Project, words: str) -> bool:
    log = project.directory / "run.log"
    return log.is_file() and words in log.read_text(encoding="utf-8")


def _state(project: Project, server: PrefectServer) -> Any:
    return project.flow_run(server)["state_type"]


def _stopped_well(stopped: Stopped, stage: str, code: int) -> None:
    assert stopped.code == code, stopped.output
    assert f"stopping: {stage}" in stopped.output
    assert "stopped. What is done is stored: the same command continues from here." in stopped.output
    assert "Status: figa status --workspace" in stopped.output
    assert "Traceback" not in stopped.output
    assert stopped.left == []
    assert stopped.run["status"] == "interrupted"


def test_while_it_generates(served_project: Project, prefect_server: PrefectServer) -> None:
    served_project.settings["generation"]["max_tokens"] = 250
    served_project.settings["prompts"]["limit"] = 160

    def generating() -> bool:
        if not _said(served_project, "import "):
            return False
        time.sleep(0.5)
        return True

    stopped = Stopped(served_project, generating, signal.SIGTERM)
    _stopped_well(stopped, "generate; what is done is stored (SIGTERM again ends at once)", 143)
    assert stopped.run["message"] == "stopped by SIGTERM: the same command continues"
    assert _state(served_project, prefect_server) == "CRASHED"


def test_while_it_trains(served_project: Project) -> None:
    served_project.settings["training"] |= {"max_steps": 400, "checkpoint_steps": 400}

    def training() -> object:
        found = served_project.workspace.glob("trainings/*/metrics.jsonl")
        return [path for path in found if path.stat().st_size]

    stopped = Stopped(served_project, training, signal.SIGINT)
    _stopped_well(stopped, "the training finishes its step and writes a checkpoint", 130)
    assert list(served_project.workspace.glob("trainings/*/checkpoints/*/whole.json"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stage_after_stage_the_same_command_goes_on_and_pays_nothing_twice(served_project: Project) -> None:
    served_project.settings["training"] |= {"max_steps": 40, "checkpoint_steps": 5}
    with TeacherProcess(latency_s=0.1) as teacher:
        served_project.settings["revision"] |= {"base_url": teacher.base_url, "max_concurrency": 4}
        places = ("import ", "generate ", "filter ", "revise ", "weigh ", "train FIGA ", "evaluate base ")
        for after, number in zip(places, cycle((signal.SIGINT, signal.SIGTERM)), strict=False):
            stopped = Stopped(served_project, lambda after=after: _said(served_project, after), number)
            assert stopped.code == 128 + number, stopped.output
            assert stopped.left == []
            assert stopped.run["status"] == "interrupted"
        result = served_project.run()
        assert result.returncode == 0, result.stdout
        [run] = json.loads(
            served_project.figa("status", "-w", str(served_project.workspace), "--json").stdout
        )["runs"]
        kept = next(step["rows"] for step in run["steps"] if step["name"] == "kept")
        assert teacher.requests() == kept

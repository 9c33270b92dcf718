"""A signal stops a run in any stage, with a message and an exit code, and leaves no process behind."""

import signal
import time
from collections.abc import Callable
from itertools import cycle

import psutil
import pytest

from figa_core.sandbox.teacher_process import TeacherProcess
from flows.server.process import PrefectServer

from .conftest import Project, wait_until

pytestmark = pytest.mark.distributed


class Stopped:
    """A run that was stopped by a signal once `there` was true."""

    def __init__(self, project: Project, there: Callable[[], object], number: int) -> None:
        log = project.directory / "run.log"
        with log.open("wb") as output:
            process = project.start_run(stdout=output)
        wait_until(there, process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        self.code = process.wait(timeout=60)
        self.output = log.read_text(encoding="utf-8")
        self.left = psutil.wait_procs(children, timeout=10)[1]
        self.run = project.status()


def _printed(project: Project, words: str) -> bool:
    log = project.directory / "run.log"
    return log.is_file() and words in log.read_text(encoding="utf-8")


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
        if not _printed(served_project, "import "):
            return False
        time.sleep(0.5)
        return True

    stopped = Stopped(served_project, generating, signal.SIGTERM)
    _stopped_well(stopped, "generate; what is done is stored (SIGTERM again ends at once)", 143)
    assert stopped.run["message"] == "stopped by SIGTERM: the same command continues"
    assert served_project.flow_run(prefect_server)["state_type"] == "CRASHED"


@pytest.mark.slow
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
def test_stopped_in_stage_after_stage_the_same_command_continues_and_pays_for_nothing_twice(
    served_project: Project,
) -> None:
    served_project.settings["training"] |= {"max_steps": 40, "checkpoint_steps": 5}
    with TeacherProcess(latency_s=0.1) as teacher:
        served_project.settings["revision"] |= {"base_url": teacher.base_url, "max_concurrency": 4}
        places = ("import ", "generate ", "filter ", "revise ", "weigh ", "train FIGA ", "evaluate base ")
        for after, number in zip(places, cycle((signal.SIGINT, signal.SIGTERM)), strict=False):
            stopped = Stopped(served_project, lambda after=after: _printed(served_project, after), number)
            assert stopped.code == 128 + number, stopped.output
            assert stopped.left == []
            assert stopped.run["status"] == "interrupted"
        result = served_project.run()
        assert result.returncode == 0, result.stdout
        kept = next(step["rows"] for step in served_project.status()["steps"] if step["name"] == "kept")
        assert teacher.requests() == kept

"""`kill -9` of the flow process: nothing is paid for again, and no process is left running."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from figa_core.llm import journal
from figa_core.llm.calls import CallSent
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.figa_core.llm.runs import calls_in_flight

from .conftest import Project, wait_until

pytestmark = pytest.mark.distributed


def _kill(process: Any) -> list[psutil.Process]:
    """Kill the run; returns its former child processes."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return children


def _survivors(children: list[psutil.Process], workspace: Path) -> list[str]:
    _, alive = psutil.wait_procs(children, timeout=10)
    named = [
        p for p in psutil.process_iter(["cmdline"]) if str(workspace) in " ".join(p.info["cmdline"] or [])
    ]
    return [" ".join(p.cmdline()) for p in {*alive, *named} if p.is_running() and p.pid != os.getpid()]


def _in_flight(path: Path) -> int:
    return len(calls_in_flight(record for record, _ in journal.read(path)))


@pytest.fixture
def teacher():
    with TeacherProcess(latency_s=0.3) as process:
        yield process


def test_killed_while_revising_a_second_run_repeats_no_more_than_was_in_flight(
    served_project: Project, teacher: TeacherProcess
) -> None:
    served_project.settings["revision"]["max_concurrency"] = 4
    process = served_project.start_run()
    wait_until(lambda: teacher.requests() >= 12, process)
    children = _kill(process)

    assert _survivors(children, served_project.workspace) == []
    in_flight = _in_flight(served_project.workspace / "journal" / "revise.jsonl")
    assert 0 < in_flight <= 4

    second = served_project.run()
    assert second.returncode == 0, second.stdout
    asked = [record for record, _ in journal.read(served_project.workspace / "journal" / "revise.jsonl")]
    revised = {record.subject_id for record in asked if isinstance(record, CallSent)}
    assert teacher.requests() <= len(revised) + in_flight


def test_killed_while_training_a_second_run_finishes_without_a_call_and_leaves_no_process(
    served_project: Project, teacher: TeacherProcess
) -> None:
    served_project.settings["training"] |= {"max_steps": 40, "checkpoint_steps": 5}
    process = served_project.start_run()
    wait_until(lambda: list(served_project.workspace.glob("trainings/*/checkpoints/*/whole.json")), process)
    children = _kill(process)

    assert _survivors(children, served_project.workspace) == []
    calls = teacher.requests()
    [metrics] = served_project.workspace.glob("trainings/*/metrics.jsonl")
    before = metrics.read_text(encoding="utf-8").splitlines()[:5]
    assert len(before) == 5

    second = served_project.run()
    assert second.returncode == 0, second.stdout
    assert teacher.requests() == calls
    # The steps before the checkpoint were not repeated: their lines, with their wall times, are unchanged.
    after = metrics.read_text(encoding="utf-8").splitlines()
    assert after[:5] == before
    assert len(after) == 40

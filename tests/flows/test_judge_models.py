"""A run compares its models' answers by a judge; `figa judge` and a deployment compare any two, unpaid."""

import json
import subprocess
import sys

import pytest

from figa_core.processes.children import child_environment
from figa_core.sandbox.teacher_process import TeacherProcess

from .conftest import Project

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

FLOW = """
import asyncio, pathlib, sys
from flows.judge_models import judge_models
pair = asyncio.run(judge_models(pathlib.Path(sys.argv[1]), "FIGA"))
print(pair.one, pair.other)
"""


def test_a_run_and_a_later_comparison_ask_the_judge_once(
    served_project: Project, teacher: TeacherProcess
) -> None:
    project = served_project
    project.settings["evaluation.judge"] = {"model": "sandbox-teacher"}
    project.settings["training"] |= {"max_steps": 1, "processes": 1, "checkpoint_steps": 1}
    first = project.run()
    assert first.returncode in (0, 3), first.stdout  # 3: one step may make the model worse
    assert "compare FIGA with base by judge" in first.stdout
    [report] = (project.workspace / "reports").glob("run-*.html")
    assert "Answers compared by a judge" in report.read_text()
    [verdicts] = (project.workspace / "verdicts").glob("run-*.json")
    found = json.loads(verdicts.read_text())["compared_by_judge"]
    assert {(pair["model"], pair["against"]) for pair in found} >= {("FIGA", "base")}
    assert all(pair["same_place_twice"] == 0 for pair in found), "the teacher goes by the texts only"

    asked = teacher.requests()
    again = project.figa("judge", "FIGA", "base", "-w", str(project.workspace))
    assert again.returncode == 0, again.stdout
    assert "FIGA" in again.stdout
    assert teacher.requests() == asked
    as_deployed = subprocess.run(
        [sys.executable, "-c", FLOW, str(project.workspace)],
        cwd=project.directory,
        env=child_environment(**project.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert as_deployed.stdout.splitlines()[-1:] == ["base FIGA"], as_deployed.stderr
    assert teacher.requests() == asked
    other = project.figa("judge", "FIGA", "no such", "-w", str(project.workspace))
    assert other.returncode == 1
    assert "evaluated were" in other.stdout

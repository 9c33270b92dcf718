"""`figa compare` through the command line, on a real Prefect server, with real trainings of a few steps."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from figa_core.rl.environments import OF_TRL, why_missing
from figa_core.rl.job import UNSCORED, RlJob
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.training.metrics import read_metrics

from .conftest import Project

pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(1800)]


def run(project: Project) -> subprocess.CompletedProcess[str]:
    return project.figa("compare", "--config", str(project.config), timeout_s=800)


def compared(project: Project) -> dict[str, Any]:
    [path] = (project.workspace / "reports").glob("*-methods.json")
    return json.loads(path.read_text(encoding="utf-8"))


def models(project: Project) -> list[Path]:
    return sorted(path.parent for path in project.workspace.glob("trainings/*/model"))


def assert_cut_off_trainings_are_the_first_steps_of_whole_ones(project: Project) -> None:
    found = [
        [(step.loss, step.grad_norm, step.learning_rate) for step in read_metrics(path)]
        for path in project.workspace.glob("trainings/*/metrics.jsonl")
    ]
    found = [steps for steps in found if steps[0][-1] == 1e-4]  # the other rate diverged
    whole, cut_off = ([steps for steps in found if len(steps) == length] for length in (4, 2))
    assert sorted(steps[:2] for steps in whole) == sorted(cut_off)
    assert len(cut_off) == 2


def test_methods_are_compared_and_a_second_time_nothing_is_trained_or_generated(
    served_project: Project, teacher: TeacherProcess
) -> None:
    project = served_project
    project.settings["training"] |= {"processes": 1, "max_steps": 4}
    project.settings["prompts"]["limit"] = 40
    project.settings["compare"] = {
        "methods": ["figa"],
        "learning_rates": [1e-4, 1e30],  # the second diverges
        "seeds": [3, 4],
        "sweep_seeds": 1,
        "pairs": [6, 100_000],
        "curve_steps": [2, 100],
    }
    first = run(project)
    assert first.returncode == 0, first.stdout
    calls = teacher.requests()
    found = compared(project)
    row, unable = found["rows"]
    assert (row["method"], row["pairs"], row["learning_rate"]) == ("FIGA", 6, 1e-4)
    assert [(each["learning_rate"], each["seed"], each["outcome"]) for each in row["trainings"]] == [
        (1e-4, 3, "judged"),
        (1e30, 3, "diverged"),
        (1e-4, 4, "judged"),
    ]
    assert "the gradient was not finite" in row["trainings"][1]["reason"]
    assert "there are only" in unable["unable"]
    assert row["score"]["prompts"] == found["base"]["prompts"]
    assert row["cost_of_one_training"]["tokens"] > 0
    assert [(point["steps"], point["score"]["seeds"]) for point in row["after_steps"]] == [(2, 2), (4, 2)]
    assert row["after_steps"][-1]["score"] == row["score"]
    assert_cut_off_trainings_are_the_first_steps_of_whole_ones(project)
    assert "cannot run: there are only" in first.stdout
    assert "3 trainings of 1 method" in first.stdout
    [kept] = models(project)
    assert str(kept / "model") in {each["model"] for each in row["trainings"]}
    trained = {path: path.stat().st_mtime_ns for path in project.workspace.glob("trainings/*/*")}

    second = run(project)
    assert second.returncode == 0, second.stdout
    assert teacher.requests() == calls
    assert {path: path.stat().st_mtime_ns for path in project.workspace.glob("trainings/*/*")} == trained
    assert compared(project)["rows"] == found["rows"]
    assert "train FIGA" not in second.stdout
    assert "FIGA, 6 pairs: generate" not in second.stdout


PROGRAM = """
def near(messages, text, reference):
    words = set(text.split())
    return len(words & set(reference.split())) / (1 + len(words))
"""


@pytest.mark.trl
def test_grpo_learns_from_the_rewards_that_a_run_combines(served_project: Project) -> None:
    if missing := why_missing(OF_TRL):
        pytest.skip(missing)
    project = served_project
    (project.directory / "a_program_to_compare_by.py").write_text(PROGRAM)
    path = [str(project.directory), os.environ.get("PYTHONPATH", "")]
    project.environment["PYTHONPATH"] = os.pathsep.join(path)
    model = {"name": "helpful", **project.settings.pop("reward")}
    program = {"name": "near", "program": "a_program_to_compare_by:near", "fields": ["reference"]}
    project.rewards += [model, {**program, "weight": 2.0}]
    project.settings["prompts"]["limit"] = 40
    compare = {"methods": ["grpo"], "learning_rates": [1e-4], "seeds": [3]}
    project.settings["compare"] = {**compare, "pairs": ["all"]}
    first = run(project)
    assert first.returncode == 0, first.stdout
    found = compared(project)
    [row] = found["rows"]
    assert [each["outcome"] for each in row["trainings"]] == ["judged"]
    assert found["rewards"] == [
        "'helpful' (reward model reward, weight 1)",
        "'near' (program a_program_to_compare_by:near, weight 2)",
    ]
    assert "The reward of GRPO: 'helpful'" in first.stdout
    [file] = project.workspace.glob("trainings/*/job.json")
    job = RlJob.read(file)
    assert {each.name for each in job.rewards} == {"helpful", "near"}
    assert all(each.mean != 0 and each.factor != 1 for each in job.rewards)
    steps = read_metrics(job.metrics_path)
    assert steps
    assert not any(step.figures[UNSCORED] for step in steps)

    written = job.metrics_path.stat().st_mtime_ns
    second = run(project)
    assert second.returncode == 0, second.stdout
    assert job.metrics_path.stat().st_mtime_ns == written
    assert compared(project)["rows"] == found["rows"]

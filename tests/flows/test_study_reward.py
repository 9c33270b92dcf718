"""`figa study reward` through the command line, with real trainings of a few steps."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.correction import spoil
from figa_core.sandbox.teacher_process import TeacherProcess

from .conftest import Project

pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(3600)]
KEYS = ["own", "full", "tenth", "noise-10", "noise-20", "noise-40", "length"]


def study(project: Project, *options: str) -> subprocess.CompletedProcess[str]:
    return project.figa("study", "reward", "--config", str(project.config), *options, timeout_s=1500)


def small(project: Project, prompts: int) -> Project:
    """With so few steps that the results mean nothing."""
    project.settings["prompts"] |= {"limit": prompts, "held_out_share": 0.2}
    project.settings["generation"]["max_tokens"] = 60
    project.settings["training"] |= {"processes": 1, "max_steps": 2}
    project.settings["filter"] = {
        "response_reward_below": "q0.5",
        "reference_reward_above": "q0.1",
        "reward_gap_above": "q0.1",
    }
    project.settings["compare"] = {"seeds": [0]}
    return project


def found(project: Project) -> dict[str, Any]:
    [path] = (project.workspace / "studies").glob("*-reward.json")
    assert path.with_suffix(".html").is_file()
    return json.loads(path.read_text(encoding="utf-8"))


def modified(project: Project) -> dict[Path, float]:
    """Of all reward models and trainings."""
    paths = [
        *project.workspace.glob("studies/*/manifest.json"),
        *project.workspace.glob("trainings/*/*.json"),
    ]
    return {path: path.stat().st_mtime for path in paths}


def test_a_run_is_repeated_with_worse_rewards_and_nothing_is_paid_or_made_twice(
    served_project: Project, teacher: TeacherProcess
) -> None:
    project = small(served_project, prompts=160)
    asked = study(project)
    assert asked.returncode == 1, asked.stdout
    assert "calls to sandbox-teacher, counted from the open rows" in asked.stdout
    assert "Nothing was spent" in asked.stdout
    assert teacher.requests() == 0
    result = study(project, "--yes")
    assert result.returncode == 0, result.stdout
    calls = teacher.requests()
    data = found(project)
    rows = {each["key"]: each for each in data["variants"]}
    assert [*rows] == KEYS
    kept = [each["pairs"]["kept"] for each in rows.values() if each["pairs"]]
    assert 0 < calls < sum(kept)  # what several variants keep is revised once
    for key in KEYS[1:-1]:
        assert rows[key]["pairwise_accuracy"]["pairs"] == data["preference_pairs"]["held_out"]
        assert rows[key]["pairwise_accuracy"]["left_out"] == 0
    assert rows["tenth"]["reward_model"]["pairs"] < rows["full"]["reward_model"]["pairs"] / 5
    assert rows["tenth"]["reward_model"]["steps"] == rows["full"]["reward_model"]["steps"]
    judged = [each for each in rows.values() if each["score"]]
    assert len(judged) >= 5
    assert all(each["score"]["seeds"] == 1 for each in judged)
    assert "With one seed intervals cover prompts only" in result.stdout
    before = modified(project)
    again = study(project)
    assert again.returncode == 0, again.stdout
    assert teacher.requests() == calls
    assert modified(project) == before
    assert found(project)["variants"] == data["variants"]
    runs = json.loads(project.figa("status", "-w", str(project.workspace), "--json").stdout)["runs"]
    assert runs[0]["run_id"] == data["run_id"]  # the run itself, not one of its variants, is the latest
    assert len(runs) == len(KEYS)


def test_reward_models_are_trained_on_a_file_of_pairs(
    served_project: Project, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The right answers are preferred to ones with a wrong value; the prompts are not the run's."""
    project = small(served_project, prompts=60)
    lines = sandbox.prompts.read_text(encoding="utf-8").splitlines()[100:180]
    pairs = tmp_path / "pairs.jsonl"
    with pairs.open("w", encoding="utf-8") as file:
        for row in map(json.loads, lines):
            asked = "\n".join(message["content"] for message in row["prompt"])
            rejected = spoil(asked, row["reference"])
            json.dump({"prompt": row["prompt"], "chosen": row["reference"], "rejected": rejected}, file)
            file.write("\n")
    result = study(project, "--pairs", str(pairs), "--yes")
    assert result.returncode == 0, result.stdout
    assert "second answers" not in result.stdout
    data = found(project)
    assert data["preference_pairs"]["from"] == "pairs.jsonl"
    assert sum(data["preference_pairs"][part] for part in ("training", "held_out")) == len(lines)
    rows = {each["key"]: each for each in data["variants"]}
    assert [*rows] == KEYS
    held_out = data["preference_pairs"]["held_out"]
    assert [each["pairwise_accuracy"]["pairs"] for each in rows.values()] == [held_out] * len(KEYS)

"""A run with a reward model, a program and a judge, from the prompts to the report."""

import json
from typing import Any

import duckdb
import numpy as np
import pytest

from figa_core.sandbox.teacher_process import TeacherProcess

from .conftest import Project

pytestmark = [pytest.mark.distributed, pytest.mark.slow]


@pytest.fixture
def rewarded(served_project: Project) -> Project:
    """Two rewards choose the pairs; the judge, which is the teacher, rates the models."""
    project = served_project
    reward = project.settings.pop("reward")
    project.rewards = [
        {"name": "helpful", **reward},
        {"name": "brief", "program": "figa_core.rewards.examples:is_brief", "weight": 0.5},
        {"name": "judge", "judge": "sandbox-teacher", "weight": 0, "fields": ["reference"]},
    ]
    project.settings["evaluation"] = {"reward": "judge"}
    project.settings["training"] |= {"max_steps": 1, "processes": 1, "checkpoint_steps": 1}
    return project


def query(project: Project, sql: str) -> list[Any]:
    with duckdb.connect(str(project.workspace / "figa.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_a_run_goes_by_all_its_rewards_and_pays_for_no_judgement_twice(
    rewarded: Project, teacher: TeacherProcess
) -> None:
    first = rewarded.run()
    assert first.returncode in (0, 3), first.stdout  # 3: one step may make the model worse
    assert "score responses by helpful" in first.stdout
    assert "score responses, combined" in first.stdout

    [found] = query(rewarded, "SELECT settings FROM runs")
    found = json.loads(found[0])
    scorers, combined = found["reward_scorers"], found["scorer"]
    assert found["training_scorer"] == combined != found["judge_scorer"] == scorers["judge"]
    values = {
        name: dict(query(rewarded, f"SELECT subject_id, value FROM scores WHERE scorer_id = '{scorer}'"))
        for name, scorer in {**scorers, "combined": combined}.items()
    }
    own = [row[0] for row in query(
        rewarded, "SELECT response_id FROM responses JOIN prompts USING (prompt_id) "
        f"WHERE split = 'train' AND generator_id = '{found['generator']}'")]  # fmt: skip
    z = {}
    for name in ("helpful", "brief"):
        sample = np.array([values[name][response] for response in own])
        deviation = sample.std() if sample.std() > 1e-9 else 1.0
        z[name] = {subject: (value - sample.mean()) / deviation for subject, value in values[name].items()}
    for subject, value in values["combined"].items():
        assert value == pytest.approx((z["helpful"][subject] + 0.5 * z["brief"][subject]) / 1.5, abs=1e-9)
    assert values["judge"].keys().isdisjoint(own), "the judge rates the models' answers only"
    assert all(1 <= value <= 10 for value in values["judge"].values())

    status, asked = rewarded.status(), teacher.requests()
    assert status["spending"]["calls"] == asked
    [report] = (rewarded.workspace / "reports").glob("run-*.html")
    html = report.read_text()
    assert "The rewards of this run" in html
    assert "program figa_core.rewards.examples:is_brief" in html
    assert "judge sandbox-teacher, scores from 1 to 10" in html

    second = rewarded.run()
    assert second.returncode == first.returncode, second.stdout
    assert teacher.requests() == asked

"""A run whose weights an LLM decides, from the prompts to the trained model."""

import pytest

from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.shards.read import iter_tables, pairs_of

from .conftest import Project

pytestmark = [pytest.mark.distributed, pytest.mark.slow]


def test_a_run_grades_words_trains_on_the_scores_and_asks_nothing_twice(
    served_project: Project, teacher: TeacherProcess
) -> None:
    served_project.settings["weighting"]["scheme"] = "llm_graded"
    served_project.settings["grader"] = {"model": "sandbox-teacher", "requests_per_minute": 60_000}
    served_project.settings["training"] |= {"max_steps": 1, "processes": 1, "checkpoint_steps": 1}

    first = served_project.run()

    assert "grade " in first.stdout, first.stdout
    assert first.returncode in (0, 3), first.stdout  # 3: one step may make the model worse
    asked, status = teacher.requests(), served_project.status()
    steps = {step["name"]: step["rows"] for step in status["steps"]}
    assert 0 < steps["weighted"] <= steps["admitted"]
    assert steps["kept"] < asked <= steps["kept"] + steps["admitted"]
    assert (status["open_grades"], status["spending"]["calls"]) == ({}, asked)
    assert status["spending"]["usd"] > 0
    [shards] = (served_project.workspace / "shards").glob("shards-*")
    pairs = [pair for table in iter_tables(shards) for pair in pairs_of(table)]
    assert len(pairs) == steps["weighted"]
    assert {round(f, 3) for pair in pairs for f in pair.revision_factors or ()} <= {0.2, 0.6, 1.0}

    second = served_project.run()
    assert second.returncode == first.returncode, second.stdout
    assert teacher.requests() == asked

"""The calls that a run needs, counted before anything is spent."""

import json

import pytest

from figa_core.config.file import load_config
from flows.plan import make_plan, plan_lines

from .conftest import Project


def test_a_prompt_that_appears_several_times_is_one_call(project: Project) -> None:
    texts = [f"Question number {i % 700}?" for i in range(2100)]
    (project.directory / "prompts.jsonl").write_text(
        "".join(f"{json.dumps({'prompt': text})}\n" for text in texts) + "no row\n", encoding="utf-8"
    )
    project.settings["prompts"] |= {"path": "prompts.jsonl", "held_out_share": 0.0, "limit": 2101}
    plan = make_plan(load_config(project.config))
    assert (plan.exact, plan.calls) == (False, 700)
    assert not project.workspace.exists()


def test_a_plan_counts_a_call_to_the_grader_for_each_pair(project: Project) -> None:
    (project.directory / "prompts.jsonl").write_text(
        "".join(f"{json.dumps({'prompt': f'Question number {i}?'})}\n" for i in range(9)), encoding="utf-8"
    )
    project.settings["prompts"] |= {"path": "prompts.jsonl", "held_out_share": 0.0, "limit": 100}
    assert make_plan(load_config(project.config)).grading is None
    project.settings["weighting"]["scheme"] = "llm_binary"
    project.settings["grader"] = {"model": "sandbox-teacher"}
    plan = make_plan(load_config(project.config))
    assert plan.grading is not None
    words = project.settings["generation"]["max_tokens"] * 4 // 5
    assert (plan.grading.calls, plan.grading.completion_tokens) == (9, 9 * (16 + 2 * (words + 1)))
    assert plan.grading.prompt_tokens > plan.prompt_tokens
    cost = (2.0 * plan.grading.prompt_tokens + 8.0 * plan.grading.completion_tokens) * 1e-6
    assert plan.grading.usd == pytest.approx(cost)
    lines = list(plan_lines(plan, "sandbox-teacher"))
    assert "at most 9 calls to the grader sandbox-teacher, one for each pair that is admitted" in lines

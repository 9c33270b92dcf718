"""The calls that a run needs, counted before anything is spent."""

import json
from dataclasses import replace

import pytest

from figa_core.config.file import load_config
from figa_core.errors import ConfigError
from figa_core.prompts.read import RowFormat, read_prompts
from figa_core.records import Prompt, Split
from flows.plan import Plan, check_budget, make_plan, plan_lines
from flows.plan_judging import JudgingPlan

from .conftest import Project

FORMAT = RowFormat("prompt", "reference", None, 0.3)


def test_a_prompt_that_appears_several_times_is_one_call(project: Project) -> None:
    texts = [f"Question number {i % 700}?" for i in range(2100)]
    (project.directory / "prompts.jsonl").write_text(
        "".join(f"{json.dumps({'prompt': text})}\n" for text in texts) + "no row\n", encoding="utf-8"
    )
    project.settings["prompts"] |= {"path": "prompts.jsonl", "held_out_share": 0.0, "limit": 2101}
    plan = make_plan(load_config(project.config))
    assert (plan.exact, plan.calls) == (False, 700)
    assert not project.workspace.exists()


def test_a_plan_says_what_automatic_epochs_become(project: Project) -> None:
    (project.directory / "prompts.jsonl").write_text(
        "".join(f"{json.dumps({'prompt': f'Question number {i}?'})}\n" for i in range(100)), encoding="utf-8"
    )
    project.settings["prompts"] |= {"path": "prompts.jsonl", "held_out_share": 0.0, "limit": 100}
    project.settings["training"] |= {"epochs": "auto", "pairs_per_step": 8, "max_steps": "none"}
    lines = list(plan_lines(make_plan(load_config(project.config)), "a-model"))
    assert lines[-1] == (
        "training, if every pair is kept: 8 pairs a step: 100 pairs seen twice make 26 updates "
        '(training.epochs = "auto" looks for 24 or more)'
    )


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


def test_a_plan_counts_a_call_to_a_judge_for_each_answer_that_it_rates(project: Project) -> None:
    rows = [{"prompt": f"Question number {i}?", "answer": i} for i in range(20)]
    rows = [{**row, "reference": "This."} if i < 15 else row for i, row in enumerate(rows)]
    (project.directory / "prompts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    project.settings["prompts"] |= {"path": "prompts.jsonl", "held_out_share": 0.3, "limit": 100}
    judge = {"name": "tone", "judge": "sandbox-teacher", "fields": ["answer"], "weight": 0}
    project.rewards = [{"name": "helpful", **project.settings.pop("reward")}, judge]
    assert make_plan(load_config(project.config)).judging == []

    def planned(**uses: str) -> JudgingPlan:
        for section in ("filter", "admission", "evaluation"):
            project.settings[section] = {"reward": uses.get(section, "helpful")}
        [plan] = make_plan(load_config(project.config)).judging
        return plan

    prompts = [read for _, read in read_prompts(project.directory / "prompts.jsonl", FORMAT)]
    train = [each for each in prompts if isinstance(each, Prompt) and each.split is Split.TRAIN]
    references = sum(each.reference is not None for each in train)
    held_out = len(prompts) - len(train)
    assert 0 < references < len(train) < len(prompts)
    assert planned(evaluation="tone").calls == 2 * held_out
    assert planned(admission="tone").calls == 2 * len(train)
    both = planned(filter="tone", admission="tone", evaluation="tone")
    assert both.calls == 2 * len(train) + references + 2 * held_out
    assert both.completion_tokens == 60 * both.calls
    assert both.usd == pytest.approx((2.0 * both.prompt_tokens + 8.0 * both.completion_tokens) * 1e-6)
    plan = make_plan(load_config(project.config))
    lines = "\n".join(plan_lines(plan, "sandbox-teacher"))
    assert f"at most {both.calls:,} calls to the judge 'tone' (sandbox-teacher)" in lines


def test_a_budget_that_does_not_suffice_is_an_error_and_one_that_does_is_none() -> None:
    plan = Plan(
        exact=True,
        calls=10,
        prompt_tokens=100,
        completion_tokens=100,
        usd=2.0,
        most_usd=3.0,
        spent_usd=9.0,
        budget_usd=10.0,
        minutes_by_requests=1.0,
        minutes_by_tokens=1.0,
    )
    with pytest.raises(ConfigError, match=r"\$1\.00 of \$10\.00 are left, and the calls cost about \$2\.00"):
        check_budget(plan)
    check_budget(replace(plan, budget_usd=11.0))
    check_budget(replace(plan, budget_usd=None))

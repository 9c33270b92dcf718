"""Benchmarks that cannot be run, or would say little, are named before anything is spent."""

import shutil
from pathlib import Path

import pytest

from figa_core.config.harness import HarnessConfig
from figa_core.harness.environment import PYTHON_VARIABLE
from figa_core.sandbox.build import Sandbox
from flows.checks.harness import check_environment, check_tasks, check_thoughts
from tests.figa_core.harness.lm_eval_program import use_program

from .conftest import MakeFacts


def test_without_tasks_nothing_is_looked_for(facts: MakeFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, "/no/such/python")
    assert list(check_environment(facts())) == list(check_tasks(facts())) == []
    of_a_stored_run = HarnessConfig().model_dump(mode="json")
    assert list(check_environment(facts(evaluation={"harness": of_a_stored_run}))) == []
    [found] = check_environment(facts(evaluation={"harness": {"limit": 3}}))
    assert not found.is_problem
    assert "no effect without tasks" in found.text


def test_an_environment_that_is_missing_is_a_problem(
    facts: MakeFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, "/no/such/python")
    [found] = check_environment(facts(evaluation={"harness": {"tasks": ["mmlu"]}}))
    assert found.is_problem
    assert "make harness" in found.text


def test_vllm_that_lm_eval_does_not_see_is_a_problem(
    facts: MakeFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(tmp_path, monkeypatch)
    [found] = check_environment(facts(evaluation={"harness": {"tasks": ["mmlu"]}}))
    assert (found.where, found.is_problem) == ("evaluation.harness.engine", True)
    assert 'or set engine = "transformers"' in found.text
    by_transformers = {"tasks": ["mmlu"], "engine": "transformers"}
    assert list(check_environment(facts(evaluation={"harness": by_transformers}))) == []
    use_program(tmp_path, monkeypatch, has_vllm=True)
    assert list(check_environment(facts(evaluation={"harness": {"tasks": ["mmlu"]}}))) == []


@pytest.mark.parametrize(("limit", "off"), [(1, "± 98 points"), (20, "± 22 points"), (400, None)])
def test_a_limit_that_makes_scores_meaningless_is_said_with_how_far_off_they_are(
    limit: int, off: str | None, facts: MakeFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(tmp_path, monkeypatch, has_vllm=True)
    found = list(check_environment(facts(evaluation={"harness": {"tasks": ["mmlu"], "limit": limit}})))
    assert [(f.where, f.is_problem) for f in found] == ([("evaluation.harness.limit", False)] if off else [])
    assert all(off in each.text for each in found if off)


def test_a_task_that_does_not_exist_is_a_problem_with_names_like_it(
    facts: MakeFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(tmp_path, monkeypatch, unknown=("gsm9k", "nothing"))
    tasks = {"tasks": ["mmlu", "gsm9k"], "include_path": str(tmp_path)}
    [found] = check_tasks(facts(evaluation={"harness": tasks}))
    assert str(found) == (
        "evaluation.harness.tasks: 'gsm9k' is no task, group or tag of lm-eval, nor of a valid YAML file in "
        "include_path; did you mean one_like_it?"
    )


def test_a_folder_that_is_not_there_is_a_problem(
    facts: MakeFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(tmp_path, monkeypatch)
    tasks = {"tasks": ["own_task"], "include_path": str(tmp_path / "none")}
    [found] = check_tasks(facts(evaluation={"harness": tasks}))
    assert (found.where, found.is_problem) == ("evaluation.harness.include_path", True)


def test_that_lm_eval_does_not_run_on_the_workers_is_said(
    facts: MakeFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(tmp_path, monkeypatch, has_vllm=True)
    [found] = check_environment(facts(evaluation={"harness": {"tasks": ["mmlu"]}}, generation={"workers": 2}))
    assert "not on the workers" in found.text


def test_that_transformers_cut_thoughts_is_said(facts: MakeFacts, sandbox: Sandbox, tmp_path: Path) -> None:
    base = shutil.copytree(sandbox.base_model, tmp_path / "base")

    def said(thinking: str = "keep", **harness: object) -> list[str]:
        settings = {"tasks": ["gsm8k"], "engine": "transformers", **harness}
        found = facts(evaluation={"harness": settings}, generation={"thinking": thinking})
        return [str(finding) for finding in check_thoughts(found)]

    assert said() == []
    template = base / "chat_template.jinja"
    switch = "{% if add_generation_prompt and not enable_thinking|default(true) %}<think></think>{% endif %}"
    template.write_text(template.read_text().rstrip("\n") + "{# <think> #}" + switch)
    [text] = said()
    assert "ends a text at a task's own stop, such as a blank line, also within the thought" in text
    assert said("off") == said(engine="vllm") == said(tasks=[]) == said(chat_template=False) == []

"""What `figa compare` refuses before anything starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from figa_core.config.file import load_config
from figa_core.errors import ConfigError
from flows.checks import comparison
from flows.checks.comparison import check_comparison, models_at_once, without_effect
from flows.cli import app
from tests.flows.conftest import Project


def config_of(project: Project, compare: Mapping[str, Any]) -> Any:
    project.settings["compare"] = dict(compare)
    return load_config(project.config)


def test_without_held_out_prompts_the_command_ends_at_once(project: Project) -> None:
    project.settings["prompts"]["held_out_share"] = 0.0
    result = CliRunner().invoke(app, ["compare", "--config", str(project.config)])
    assert isinstance(result.exception, ConfigError)
    assert "prompts.held_out_share is 0" in str(result.exception)
    assert not project.workspace.exists()


def test_a_weighting_by_an_llm_needs_a_grader(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIGA_TEST_KEY", "any-key-does")
    compare = {"methods": [{"objective": "figa", "scheme": "llm_binary"}]}
    config = load_config(project.config, {"compare": compare})
    with pytest.raises(ConfigError, match=r"grader\.model: weighting\.scheme = 'llm_binary' needs an LLM"):
        check_comparison(config)
    graded = config.grader.model_copy(update={"model": "sandbox-teacher"})
    check_comparison(config.model_copy(update={"grader": graded}))


def test_the_models_of_one_method_and_those_that_are_kept_count(project: Project) -> None:
    sizes = {"methods": ["figa", "sft"], "learning_rates": [1e-5, 1e-4], "seeds": [0, 1], "pairs": [8, "all"]}
    assert models_at_once(config_of(project, sizes)) == 4 + 3
    assert models_at_once(config_of(project, {**sizes, "keep_models": "all"})) == 16


def test_the_shorter_trainings_of_curves_count_too(project: Project) -> None:
    sizes = {"methods": ["figa"], "learning_rates": [1e-5], "seeds": [0, 1], "curve_steps": [2, 4]}
    assert models_at_once(config_of(project, sizes)) == 2
    assert models_at_once(config_of(project, {**sizes, "keep_models": "all"})) == 2 + 4


def test_a_curve_over_the_steps_needs_a_rate_that_does_not_depend_on_their_number(project: Project) -> None:
    decaying = {"objective": "sft", "schedule": {"kind": "cosine"}}
    compare = {"methods": ["figa", decaying], "curve_steps": [2]}
    with pytest.raises(ConfigError, match=r"compare\.curve_steps: the learning rate of SFT on Y .* depends"):
        check_comparison(load_config(project.config, {"compare": compare}))
    for fine in ({**compare, "methods": ["figa", "sft"]}, {"methods": ["figa", decaying]}):
        check_comparison(load_config(project.config, {"compare": fine}))


def test_a_reward_that_a_method_cannot_learn_from_is_refused_before_anything_is_paid(
    project: Project,
) -> None:
    model = project.settings.pop("reward")["model"]
    project.rewards += [
        {"name": "helpful", "model": model},
        {"name": "brief", "program": "figa_core.rewards.examples:is_brief"},
    ]
    with pytest.raises(ConfigError) as caught:
        check_comparison(config_of(project, {"methods": ["figa", "grpo", "ppo"]}))
    assert "compare.methods: ppo: it learns from one reward model" in str(caught.value)
    assert "'brief' (the program figa_core.rewards.examples:is_brief). Use grpo or rloo" in str(caught.value)
    check_comparison(config_of(project, {"methods": ["figa", "grpo", "rloo"]}))
    project.rewards.append({"name": "tone", "judge": "gpt-5"})
    with pytest.raises(ConfigError, match=r"compare\.methods: grpo and rloo: a training would ask the judge"):
        check_comparison(config_of(project, {"methods": ["figa", "grpo", "rloo"]}))
    check_comparison(config_of(project, {"methods": ["figa"]}))


def test_a_disk_without_room_for_the_models_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(project, {"methods": ["figa"]})
    check_comparison(config)

    class Full:
        free = 10_000

    monkeypatch.setattr(comparison.shutil, "disk_usage", lambda _path: Full)
    with pytest.raises(ConfigError, match="has up to 9 models there at once"):
        check_comparison(config)


def test_a_model_that_is_missing_is_left_to_the_checks_of_every_run(project: Project, tmp_path: Path) -> None:
    project.settings["generation"]["model"] = str(tmp_path / "nowhere")
    check_comparison(config_of(project, {}))


def test_a_judge_of_two_answers_is_said_to_be_without_effect(project: Project) -> None:
    config = load_config(project.config)
    assert without_effect(config) is None
    judge = {"model": "gpt-4.1-mini"}
    for verifier, by in ((None, "by the reward"), ("m:f", "by the verifier")):
        asked = load_config(project.config, {"evaluation": {"judge": judge, "verifier": verifier or "none"}})
        assert by in (said := without_effect(asked) or "")
        assert said.startswith("evaluation.judge: gpt-4.1-mini is not asked here")

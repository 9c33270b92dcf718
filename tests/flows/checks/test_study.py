"""What `figa study reward` refuses before anything starts."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from figa_core.config.file import load_config
from figa_core.errors import ConfigError
from figa_core.study.reward.settings import RewardStudySettings
from flows.checks.study import check_reward_study
from flows.cli import app
from tests.flows.conftest import Project

SETTINGS = RewardStudySettings()


def problems(project: Project, settings: RewardStudySettings = SETTINGS) -> str:
    with pytest.raises(ConfigError) as raised:
        check_reward_study(load_config(project.config), settings)
    return str(raised.value)


def test_what_is_needed_to_judge_is_said_all_at_once(project: Project) -> None:
    del project.settings["evaluation"]["verifier"]
    project.settings["prompts"]["held_out_share"] = 0.0
    text = problems(project)
    assert "evaluation.verifier: none" in text
    assert "prompts.held_out_share is 0" in text


def test_the_command_ends_before_a_workspace_is_made(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIGA_TEST_KEY", "any-key-does")
    del project.settings["evaluation"]["verifier"]
    result = CliRunner().invoke(app, ["study", "reward", "--config", str(project.config)])
    assert isinstance(result.exception, ConfigError)
    assert "evaluation.verifier" in str(result.exception)
    assert not project.workspace.exists()


def test_a_judge_a_grader_and_a_rate_to_be_found_are_refused(project: Project) -> None:
    project.rewards = [{"name": "tone", "judge": "sandbox-teacher"}]
    project.settings.pop("reward")
    project.settings["weighting"]["scheme"] = "llm_binary"
    project.settings["training"]["learning_rate"] = "auto"
    text = problems(project)
    assert "tone is an LLM judge" in text
    assert 'weighting.scheme = "llm_binary"' in text
    assert 'training.learning_rate = "auto"' in text


def test_answers_that_are_all_the_same_make_no_pairs_and_a_file_does(
    project: Project, tmp_path: Path
) -> None:
    project.settings["generation"]["temperature"] = 0.0
    assert "generation.temperature is 0" in problems(project)
    check_reward_study(load_config(project.config), RewardStudySettings(pairs=tmp_path / "pairs.jsonl"))


def test_a_start_that_is_not_there_is_named(project: Project, tmp_path: Path) -> None:
    assert "there is no directory" in problems(project, RewardStudySettings(start=tmp_path / "nothing"))


def test_a_program_as_the_reward_is_fine(project: Project) -> None:
    project.rewards = [{"name": "brief", "program": "figa_core.rewards.examples:is_brief"}]
    project.settings.pop("reward")
    check_reward_study(load_config(project.config), SETTINGS)

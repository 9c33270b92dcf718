"""A run's id with real models and files: what enters it through another id or a file's content."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import PipelineConfig
from figa_core.config.decisions import settings_of
from figa_core.config.file import load_config
from flows.run.open_run import identify
from tasks.workspace import Workspace

from ..conftest import Project

OTHERS: dict[str, Any] = {
    "generation.temperature": 0.5,
    "generation.top_p": 0.9,
    "generation.max_tokens": 23,
    "generation.seed": 3,
    "generation.chat_template_kwargs": {"date": "today"},
    "generation.sampling.top_k": 5,
    "generation.sampling.min_p": 0.1,
    "generation.sampling.repetition_penalty": 1.2,
    "generation.sampling.stop": ("END",),
    "reward.max_length": 100,
    "revision.model": "another",
    "revision.temperature": None,
    "revision.max_tokens": 99,
}
FILES = (
    "prompts.path",
    "generation.model",
    "reward.model",
    "revision_prompt.with_reference",
    "revision_prompt.without_reference",
)
IF_AN_LLM_GRADES = "grader.template"
FORMS_OF_REWARD_MODELS = ("reward.label", "reward.chat_template")  # tests/tasks/test_reward_models.py
NAMES_OF_REWARDS = ("filter.reward", "admission.reward", "evaluation.reward")


@pytest.fixture
def config(project: Project) -> PipelineConfig:
    for template in ("with_reference", "without_reference"):
        path = project.directory / f"{template}.jinja"
        path.write_text("Correct this: {{ response }}")
        project.settings["revision_prompt"][template] = str(path)
    return load_config(project.config)


def id_of(config: PipelineConfig) -> str:
    return identify(Workspace(config.workspace.path), config).run_id


def changed(config: PipelineConfig, setting: str, value: object) -> PipelineConfig:
    return with_value(config, setting.split("."), value)


def with_value(section: Any, path: list[str], value: object) -> Any:
    name, *rest = path
    content = with_value(getattr(section, name), rest, value) if rest else value
    return section.model_copy(update={name: content})


def test_what_enters_through_another_id_changes_the_id(config: PipelineConfig) -> None:
    usual = id_of(config)
    for setting, value in OTHERS.items():
        assert id_of(changed(config, setting, value)) != usual, setting


def test_the_content_of_a_file_enters_the_id_and_its_path_does_not(
    config: PipelineConfig, tmp_path: Path
) -> None:
    usual = id_of(config)
    for setting in FILES:
        section, field = setting.split(".")
        original = getattr(getattr(config, section), field)
        copy = tmp_path / "copies" / setting / original.name
        copy.parent.mkdir(parents=True)
        if original.is_dir():
            shutil.copytree(original, copy)
            edited = copy / "config.json"
        else:
            edited = copy
            shutil.copyfile(original, copy)
        other = changed(config, setting, copy)
        assert id_of(other) == usual, setting
        edited.write_text(edited.read_text() + "\n")
        assert id_of(other) != usual, setting


def test_the_lists_above_are_complete(config: PipelineConfig) -> None:
    within = {f"{setting.section}.{setting.field}" for setting in settings_of(config) if setting.within}
    assert within == {*OTHERS, *FILES, *FORMS_OF_REWARD_MODELS, *NAMES_OF_REWARDS, IF_AN_LLM_GRADES}


def test_which_reward_is_used_for_what_enters_the_id_and_its_name_does_not(config: PipelineConfig) -> None:
    assert config.reward is not None
    one = {"name": "helpful", "model": config.reward.model, "max_length": config.reward.max_length}
    brief = {"name": "brief", "program": "figa_core.rewards.examples:is_brief", "weight": 0}

    def listed(*rewards: dict[str, Any]) -> PipelineConfig:
        return PipelineConfig.model_validate({**config.model_dump(), "reward": None, "rewards": rewards})

    usual = id_of(config)
    assert id_of(listed(one)) == id_of(listed({**one, "name": "another"}, brief)) == usual
    both = listed(one, brief)
    found = {id_of(changed(both, setting, "brief")) for setting in NAMES_OF_REWARDS}
    assert len(found | {usual}) == 4
    assert id_of(changed(both, "filter.reward", "helpful")) == usual


def test_the_instructions_of_a_grader_enter_the_id_of_a_run_that_grades(
    config: PipelineConfig, tmp_path: Path
) -> None:
    template = tmp_path / "grade.jinja"
    template.write_text(
        "Score {{ response }}, {{ revision }}, {% for word in words %}{{ word.number }} {% endfor %}."
    )
    ungraded = changed(config, IF_AN_LLM_GRADES, template)
    graded = changed(ungraded, "weighting.scheme", "llm_binary")
    assert id_of(ungraded) == id_of(config)
    usual = id_of(graded)
    template.write_text(
        "Grade {{ response }}, {{ revision }}, {% for word in words %}{{ word.number }} {% endfor %}."
    )
    assert id_of(graded) != usual

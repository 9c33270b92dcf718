"""The configuration of a stored run, for a retry or a separate evaluation."""

import hashlib
from pathlib import Path

from figa_core.config import JudgeRewardConfig, PipelineConfig
from figa_core.config.file import parse_config
from figa_core.config.section import Section
from figa_core.errors import ConfigError, InputError, WorkspaceError
from figa_core.judging.prompt import load_template
from figa_core.revision.prompt import load_templates
from figa_core.storage.runs import Run, find_run
from flows.run.existing import existing_workspace
from flows.run.open_run import identify
from tasks.grading_settings import grader_template
from tasks.judge_settings import pairwise_template
from tasks.workspace import Workspace


def stored_config(directory: Path, run_id: str | None) -> PipelineConfig:
    """The configuration of a stored run (by default the latest), with the workspace's current path.

    Raises:
        InputError: there is no such workspace or run, or its prompts or models have changed: the same
            configuration would be another run, and its calls would be paid for again.
        ConfigError: the configuration is from another version and not valid in this one.
        WorkspaceError: the workspace cannot be written.
    """
    workspace = existing_workspace(directory)
    run = find_run(workspace.database, run_id)
    source = f"run {run.run_id} in {workspace.directory}"
    config = parse_config(dict(run.config), source=source, base=workspace.directory)
    moved = config.workspace.model_copy(update={"path": workspace.directory})
    config = _with_its_templates(config.model_copy(update={"workspace": moved}), workspace, run)
    found = identify(workspace, config).run_id
    if found != run.run_id:
        raise InputError(
            f"{source}: its prompts file, a model or the meaning of a setting has changed, so that the same "
            f"settings would now be another run ({found}). Restore the files, or start a new run with "
            "`figa run`: unchanged work is not paid for again."
        )
    return config


def _with_its_templates(config: PipelineConfig, workspace: Workspace, run: Run) -> PipelineConfig:
    """The config with the instructions that the run started with, even if the built-in ones have changed."""
    stored, directory = run.found.templates, workspace.templates(run.run_id)
    if stored is not None and stored != _templates_now(config):
        texts = zip(("without_reference", "with_reference"), stored, strict=True)
        paths = {field: _written(directory / f"{field}.jinja", text) for field, text in texts}
        prompt = config.revision_prompt.model_copy(update=paths)
        config = config.model_copy(update={"revision_prompt": prompt})
    of_grader = run.found.grader_template
    if of_grader is not None and of_grader != _grader_template_now(config):
        path = _written(directory / "grader.jinja", of_grader)
        grader = config.grader.model_copy(update={"template": path})
        config = config.model_copy(update={"grader": grader})
    of_judge = run.found.pairwise_template
    if of_judge is not None and of_judge != _pairwise_template_now(config):
        path = _written(directory / "pairwise.jinja", of_judge)
        judge = config.evaluation.judge.model_copy(update={"template": path})
        evaluation = config.evaluation.model_copy(update={"judge": judge})
        config = config.model_copy(update={"evaluation": evaluation})
    rewards = tuple(_with_its_template(reward, directory, run) for reward in config.rewards)
    return config.model_copy(update={"rewards": rewards})


def _with_its_template(reward: Section, directory: Path, run: Run) -> Section:
    """A judge with the instructions that the run started with; any other reward as it is."""
    if not isinstance(reward, JudgeRewardConfig):
        return reward
    text = run.found.judge_templates.get(reward.name)
    if text is None or text == _judge_template_now(reward):
        return reward
    name = hashlib.sha256(reward.name.encode()).hexdigest()[:8]
    return reward.model_copy(update={"template": _written(directory / f"judge-{name}.jinja", text)})


def _written(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(
            f"{path}: cannot write the run's instructions: {error.strerror or error}. Free space, or correct "
            "the permissions."
        ) from error
    return path


def _templates_now(config: PipelineConfig) -> tuple[str, str] | None:
    try:
        now = load_templates(config.revision_prompt.with_reference, config.revision_prompt.without_reference)
    except ConfigError:
        return None  # the user's file is gone
    return now.without_reference, now.with_reference


def _judge_template_now(judge: JudgeRewardConfig) -> str | None:
    try:
        return load_template(judge.template)
    except ConfigError:
        return None  # the user's file is gone


def _pairwise_template_now(config: PipelineConfig) -> str | None:
    try:
        return pairwise_template(config)
    except ConfigError:
        return None  # the user's file is gone


def _grader_template_now(config: PipelineConfig) -> str | None:
    try:
        return grader_template(config)
    except ConfigError:
        return None  # the user's file is gone

"""What flows do with their parameters: paths made absolute, and the name of a run."""

from pathlib import Path

from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.config_file import anchor_paths


def anchored(config: PipelineConfig) -> PipelineConfig:
    """The config with every relative path made absolute, from the working directory.

    A config file's paths are absolute already; those that a person types into a form need not be.
    """
    return anchor_paths(config, Path.cwd())


def run_name() -> str:
    """Workspace and config in words, such as "support: prompts.jsonl for llama-1b"."""
    config = flow_run.parameters["config"]
    if not isinstance(config, PipelineConfig):
        config = PipelineConfig.model_validate(config)
    return f"{config.workspace.name}: {config.prompts.path.name} for {config.generation.model.name}"

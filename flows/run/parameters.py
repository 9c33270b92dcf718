"""Parameters of flows: makes paths absolute and names the run."""

from pathlib import Path

from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.config.file import absolute_path, anchor_paths
from figa_core.errors import ConfigError
from figa_core.findings import shortened


def anchored(config: PipelineConfig) -> PipelineConfig:
    """The config with every relative path made absolute, from the working directory.

    Paths from a config file are absolute already; paths typed into a form may not be.
    """
    return anchor_paths(config, Path.cwd())


def absolute(parameter: str, path: Path) -> Path:
    """The absolute path of a flow's parameter, "~" as the home directory.

    Raises:
        ConfigError: there can be no such path; the parameter is named.
    """
    try:
        return absolute_path(path, Path.cwd())
    except ValueError as error:
        raise ConfigError(f"{parameter}: {error} (got {shortened(str(path), 60)!r})") from error


def run_name() -> str:
    """Workspace and config in words, such as "support: prompts.jsonl for llama-1b"."""
    config = flow_run.parameters["config"]
    if not isinstance(config, PipelineConfig):
        config = PipelineConfig.model_validate(config)
    return f"{config.workspace.name}: {config.prompts.path.name} for {config.generation.model.name}"

"""Parameters of flows: absolute paths and the run's name."""

from pathlib import Path

from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.config.file import absolute_path
from figa_core.errors import ConfigError
from figa_core.findings import shortened


def absolute(parameter: str, path: Path) -> Path:
    """The absolute path of a parameter, "~" as the home directory; raises ConfigError with its name."""
    try:
        return absolute_path(path, Path.cwd())
    except ValueError as error:
        raise ConfigError(f"{parameter}: {error} (got {shortened(str(path), 60)!r})") from error


def run_name() -> str:
    """Such as "support: prompts.jsonl for llama-1b"."""
    config = flow_run.parameters["config"]
    if not isinstance(config, PipelineConfig):
        config = PipelineConfig.model_validate(config)
    return f"{config.workspace.name}: {config.prompts.path.name} for {config.generation.model.name}"

"""The configuration of a run that a workspace holds: what a retry and an evaluation by itself begin with."""

from pathlib import Path

from figa_core.config import PipelineConfig
from figa_core.config_file import parse_config
from figa_core.storage import summary
from flows.status import existing_workspace


def stored_config(directory: Path, run_id: str | None) -> PipelineConfig:
    """The configuration of a stored run (the latest without an id), for the workspace where it is now.

    Raises:
        InputError: there is no such workspace or run.
        ConfigError: the configuration is of another version and does not fit this one.
    """
    directory = directory.expanduser().resolve()
    run = summary.run(existing_workspace(directory).store.database, run_id)
    config = parse_config(dict(run.config), source=f"run {run.run_id} in {directory}", base=directory)
    return config.model_copy(update={"workspace": config.workspace.model_copy(update={"path": directory})})

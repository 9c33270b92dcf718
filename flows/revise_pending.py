"""Retry: a stored run once more. No row with an answer is asked for again, whoever presses the button.

The Retry button of the Prefect UI, `figa retry-revisions` and the `retry-revisions` deployment all come to
the same: the `figa` flow with the run's own configuration, which does only what is not done.
"""

from pathlib import Path

from prefect import flow

from figa_core.config import PipelineConfig, parse_config
from figa_core.storage import summary
from flows.figa import RunResult, figa
from flows.status import existing_workspace


@flow(name="retry-revisions", flow_run_name="retry {workspace}")
async def retry_revisions(workspace: Path, run_id: str | None = None) -> RunResult:
    """Ask again for the open revisions of a run (the latest without an id), then go on with it.

    Raises:
        InputError: there is no such workspace or run.
        FigaError: as `flows.figa.figa`.
    """
    return await figa(stored_config(workspace, run_id))


def stored_config(directory: Path, run_id: str | None) -> PipelineConfig:
    """The configuration of a stored run, for the workspace where it is now.

    Raises:
        InputError: there is no such workspace or run.
        ConfigError: the configuration is of another version and does not fit this one.
    """
    directory = directory.resolve()
    run = summary.run(existing_workspace(directory).store.database, run_id)
    config = parse_config(dict(run.config), source=f"run {run.run_id} in {directory}", base=directory)
    return config.model_copy(update={"workspace": config.workspace.model_copy(update={"path": directory})})

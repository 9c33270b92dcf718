"""Retry: continues a stored run. No row that has an answer is asked for again.

The Retry button of the Prefect UI, `figa retry-revisions` and the deployment `retry-revisions` do the same:
they run the `figa` flow with the run's stored configuration, and it does only what is not done yet.
"""

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.figa import RunResult, figa
from flows.run.verdict import failed_by_its_model
from flows.stored import stored_config


def _run_name() -> str:
    parameters = flow_run.parameters
    return f"{Path(parameters['workspace']).name}: retry {parameters.get('run_id') or 'the latest run'}"


@flow(name="retry-revisions", flow_run_name=_run_name, persist_result=False)
@failed_by_its_model
async def retry_revisions(workspace: Path, run_id: str | None = None) -> RunResult:
    """Ask again for the open revisions of a stored run, then continue it.

    Args:
        workspace: Directory of the workspace.
        run_id: Id of a run, as `figa status` shows it; by default the latest.

    Raises:
        InputError: there is no such workspace or run.
        FigaError: see `flows.figa.figa`.
    """
    return await figa(stored_config(workspace, run_id))

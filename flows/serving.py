"""Runs on the pool `gpu` that have the vLLM servers of another run.

What they exchange are small files in the workspace (`figa_core/inference/server/serving_folder.py`); the rows
go to the servers, not through Prefect.
"""

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.inference.server.serving import serve_order
from figa_core.inference.server.serving_folder import ServingFolder
from figa_core.processes import interruption
from flows.progress import current
from flows.run.here import fingerprints_here, workspace_here
from flows.server.run_log import library_logs

_REMEDY = (
    "Servers on the pool need the workspace and the model under the same paths: put them on a disk that the "
    "machines share, or set generation.serving.pool = false."
)


def _run_name() -> str:
    return f"{Path(flow_run.parameters['workspace']).name}: serve a model"


@flow(name="serve-model", flow_run_name=_run_name, persist_result=False)
async def serve_model(workspace: Path, folder: str) -> None:
    """Have the vLLM servers of a run with `generation.serving.pool`, which starts this, as long as it needs
    them.

    Args:
        workspace: Directory of the workspace, which must have the same path here, on a shared disk.
        folder: Name of the folder with the order, in WORKSPACE/scratch/generate.

    Raises:
        ConfigError: the path is not valid, or another version of figa runs here.
        WorkspaceError: there is no such workspace here, or it cannot be written.
        EngineError: the run is gone, the model is another one here, or the servers do not run.
    """
    here = workspace_here(workspace, _REMEDY)
    scratch = here.scratch("generate")
    with library_logs(), interruption.doing("serve a model: its run is told"):
        serve_order(ServingFolder(scratch / folder), scratch, fingerprints_here(here), current().line)

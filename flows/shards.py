"""Runs on the pool `gpu` that generate or score the shards that another run deals to them.

What they exchange are Parquet files in the workspace (`figa_core/inference/shard_folder.py`): no row passes
through Prefect, and only the run that deals the shards opens the database.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.inference.shard_folder import ShardFolder
from figa_core.inference.shard_work import work_on_shards
from figa_core.processes import interruption
from flows.progress import current
from flows.run.here import fingerprints_here, workspace_here
from flows.server.run_log import library_logs
from tasks.artifacts import Artifacts
from tasks.workspace import Workspace

_REMEDY = (
    "The workspace must have one path on all machines of the pool: put it on a disk that they share, or name "
    "a store that they all reach (storage.artifacts)."
)


def _run_name(task: str) -> str:
    given = flow_run.parameters
    return f"{Path(given['workspace']).name}: {task}, worker {int(given['number']) + 1}"


@flow(name="generate-shard", flow_run_name=partial(_run_name, "generate"), persist_result=False)
async def generate_shard(workspace: Path, folder: str, number: int, artifacts: str | None = None) -> int:
    """Draw samples for a run with `generation.workers`, which starts this; returns the number of shards done.

    Args:
        workspace: Directory of the workspace, which must have the same path here.
        folder: Name of the folder with the shards, in WORKSPACE/scratch/generate.
        number: Of this worker, from 0.
        artifacts: URL of the workspace's store, if this machine does not share its disk.

    Raises:
        ConfigError: the path is not valid, or another version of figa runs here.
        WorkspaceError: there is no such workspace here, or it cannot be written.
        EngineError: the model is another one here, or the engine failed.
    """
    return _work("generate", workspace, folder, number, artifacts)


@flow(name="score-shard", flow_run_name=partial(_run_name, "score"), persist_result=False)
async def score_shard(workspace: Path, folder: str, number: int, artifacts: str | None = None) -> int:
    """Score texts for a run with `generation.workers`, which starts this; returns the number of shards done.

    Args:
        workspace: Directory of the workspace, which must have the same path here.
        folder: Name of the folder with the shards, in WORKSPACE/scratch/score.
        number: Of this worker, from 0.
        artifacts: URL of the workspace's store, if this machine does not share its disk.

    Raises: see `generate_shard`.
    """
    return _work("score", workspace, folder, number, artifacts)


def _work(task: str, directory: Path, folder: str, number: int, artifacts: str | None) -> int:
    here = workspace_here(directory, _REMEDY, is_shared=artifacts is None)
    store = Artifacts.of(here, artifacts, lambda text: current().line(text))
    fingerprint_of = fingerprints_here(here)

    def fetched(model: Path) -> str:
        if store is not None:
            store.fetch_model(model)
        return fingerprint_of(model)

    with (
        library_logs(),
        interruption.doing(f"{task} shards: what is done is kept"),
        _folder(store, here, task, folder, number) as shards,
    ):
        return work_on_shards(shards, number, fetched, current().line)


def _folder(
    store: Artifacts | None, workspace: Workspace, task: str, folder: str, number: int
) -> AbstractContextManager[ShardFolder]:
    if store is not None:
        return store.working(task, folder, number)
    return nullcontext(ShardFolder(workspace.scratch(task) / folder))

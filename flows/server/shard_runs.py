"""Runs of `generate-shard` and `score-shard` on the pool `gpu`, to which `inference/elsewhere.py` deals."""

from pathlib import Path

from figa_core.inference.engine import Tell
from flows.server.names import SHARD_DEPLOYMENTS
from flows.server.pool_runs import PoolRun, start_on_pool


class PrefectShardRuns:
    """elsewhere.ShardRuns on the Prefect server of this run."""

    def __init__(self, workspace: Path, tell: Tell, artifacts: str | None = None) -> None:
        """`tell` gets a line about each run, and why the first does not begin. `artifacts` is the URL of the
        workspace's store, if it has one.
        """
        self._workspace, self._tell, self._artifacts = workspace, tell, artifacts

    def start(self, task: str, folder: Path, number: int) -> PoolRun:
        """See `ShardRuns`. Raises ConfigError and EngineError as `start_on_pool` does."""
        name = f"{self._workspace.name}: {task}, worker {number + 1}"
        parameters = {
            "workspace": str(self._workspace),
            "folder": folder.name,
            "number": number,
            "artifacts": self._artifacts,
        }
        setting, off = "generation.workers", 'generation.workers = "none"'
        deployment = SHARD_DEPLOYMENTS[task]
        run = start_on_pool(deployment, name, parameters, self._tell, setting=setting, off=off)
        return PoolRun(run, name, self._tell if number == 0 else lambda _: None)

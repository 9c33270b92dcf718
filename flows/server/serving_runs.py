"""Runs of `serve-model` on the pool `gpu`, which have the servers of another run.

See `figa_core/inference/server/ordered.py`.
"""

from pathlib import Path

from figa_core.inference.engine import Tell
from flows.server.names import SERVE_MODEL
from flows.server.pool_runs import PoolRun, start_on_pool


class PrefectServingRuns:
    """ordered.ServingRuns on the Prefect server of this run."""

    def __init__(self, workspace: Path, tell: Tell) -> None:
        """`tell` gets a line about each run, and why it does not begin."""
        self._workspace, self._tell = workspace, tell

    def start(self, folder: Path) -> PoolRun:
        """See `ServingRuns`. Raises ConfigError and EngineError as `start_on_pool` does."""
        name = f"{self._workspace.name}: serve a model"
        parameters = {"workspace": str(self._workspace), "folder": folder.name}
        setting, off = "generation.serving.pool", "generation.serving.pool = false"
        run = start_on_pool(SERVE_MODEL, name, parameters, self._tell, setting=setting, off=off)
        return PoolRun(run, name, self._tell)

"""Runs of `generate-shard` and `score-shard` on the pool `gpu`, to which `inference/elsewhere.py` deals."""

import time
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled

from figa_core.errors import ConfigError, EngineError, one_line
from figa_core.inference.engine import Tell
from flows.server.names import GPU_POOL, SHARD_DEPLOYMENTS
from flows.server.versions import check_version
from flows.server.workers import no_worker_text

_LOOK_EVERY_S = 3.0
_WARN_AFTER_S = 60.0
# Without `_sync` it would return a coroutine: the stage has the context of an async flow.
_start = partial(run_deployment, timeout=0, _sync=True)  # pyright: ignore[reportCallIssue]


class PrefectShardRuns:
    """elsewhere.ShardRuns on the Prefect server of this run."""

    def __init__(self, workspace: Path, tell: Tell, artifacts: str | None = None) -> None:
        """`tell` gets a line about each run, and why the first does not begin. `artifacts` is the URL of the
        workspace's store, if it has one.
        """
        self._workspace, self._tell, self._artifacts = workspace, tell, artifacts

    def start(self, task: str, folder: Path, number: int) -> "PrefectShardRun":
        """See `ShardRuns`.

        Raises:
            ConfigError: there is no such deployment, or another version made it.
            EngineError: the server refuses the run, or does not answer.
        """
        check_version()
        deployment = SHARD_DEPLOYMENTS[task]
        name = f"{self._workspace.name}: {task}, worker {number + 1}"
        parameters = {
            "workspace": str(self._workspace),
            "folder": folder.name,
            "number": number,
            "artifacts": self._artifacts,
        }
        try:
            run = _start(deployment, parameters=parameters, flow_run_name=name)
        except ObjectNotFound as error:
            raise ConfigError(
                f"there is no deployment {deployment!r} on this Prefect server, and generation.workers needs "
                "it. Create all deployments with `python -m deployments.deploy` (`make serve` runs it too) "
                'on the server that PREFECT_API_URL names; or set generation.workers = "none".'
            ) from error
        except (httpx.HTTPError, PrefectException) as error:
            raise EngineError(
                f"{deployment}, run {name!r}: the Prefect server did not start it ({type(error).__name__}: "
                f"{one_line(error)}). Look at the server that PREFECT_API_URL names; then run the same "
                'command again: what is drawn is stored. Or set generation.workers = "none".'
            ) from error
        assert isinstance(run, FlowRun)
        self._tell(f"{deployment} runs as {name!r} on the pool {GPU_POOL!r}")
        return PrefectShardRun(run.id, name, self._tell if number == 0 else lambda _: None)


class PrefectShardRun:
    """elsewhere.ShardRun: one flow run."""

    def __init__(self, run_id: UUID, name: str, tell: Tell) -> None:
        self.name = name
        self._id, self._tell = run_id, tell
        self._begun_at, self._looked_at, self._warned = time.monotonic(), float("-inf"), False

    def ended(self) -> str | None:
        """See `ShardRun`. A server that does not answer is asked again."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return None
        self._looked_at = now
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(self._id).state
                if state is not None and state.is_scheduled() and now - self._begun_at > _WARN_AFTER_S:
                    self._warn_once(client, state.name or "Scheduled")
        except ObjectNotFound:
            return "the run was deleted on the Prefect server"
        except (httpx.HTTPError, PrefectException):
            return None
        if state is None or not state.is_final():
            return None
        return f"{state.name}: {state.message or 'it ended before the work was done'}"

    def cancel(self) -> None:
        """Only a run that has not begun: one that has ends by itself, as soon as its shard is done."""
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(self._id).state
                if state is not None and state.is_scheduled():
                    client.set_flow_run_state(self._id, Cancelled(message="The work was done by others."))
        except (httpx.HTTPError, PrefectException):
            return  # once begun, it finds its folder gone, and ends

    def _warn_once(self, client: SyncPrefectClient, state: str) -> None:
        if self._warned:
            return
        self._warned = True
        workers = client.read_workers_for_work_pool(GPU_POOL)
        if not [worker for worker in workers if worker.status == WorkerStatus.ONLINE]:
            self._tell(f"{self.name!r} has not begun: {no_worker_text(GPU_POOL)}")
        else:
            self._tell(f"{self.name!r} is waiting for its turn on the pool {GPU_POOL!r} ({state})")

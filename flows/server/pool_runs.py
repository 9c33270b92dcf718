"""Runs on the pool `gpu` that work for another run, and end by themselves when it needs them no more."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Cancelling

from figa_core.errors import ConfigError, EngineError, one_line
from figa_core.inference.engine import Tell
from flows.server.names import GPU_POOL
from flows.server.versions import check_version
from flows.server.workers import WAITS_FOR_A_NODE, no_node_text, no_worker_text

_LOOK_EVERY_S = 3.0
_WARN_AFTER_S = 60.0
# Without `_sync` it would return a coroutine: the stage has the context of an async flow.
_start = partial(run_deployment, timeout=0, _sync=True)  # pyright: ignore[reportCallIssue]


def start_on_pool(
    deployment: str, name: str, parameters: Mapping[str, Any], tell: Tell, *, setting: str, off: str
) -> UUID:
    """Start a run of this deployment ("flow/deployment") as part of this flow run; returns its id.

    Args:
        deployment: what is started.
        name: of the run.
        parameters: of its flow.
        tell: gets a line about it.
        setting: of the configuration that needs it, for messages.
        off: the line that does without.

    Raises:
        ConfigError: there is no such deployment, or another version made it.
        EngineError: the server refuses the run, or does not answer.
    """
    check_version()
    try:
        run = _start(deployment, parameters=dict(parameters), flow_run_name=name)
    except ObjectNotFound as error:
        raise ConfigError(
            f"there is no deployment {deployment!r} on this Prefect server, and {setting} needs it. Create "
            "all deployments with `python -m deployments.deploy` (`make serve` runs it too) on the server "
            f"that PREFECT_API_URL names; or set {off}."
        ) from error
    except (httpx.HTTPError, PrefectException) as error:
        raise EngineError(
            f"{deployment}, run {name!r}: the Prefect server did not start it ({type(error).__name__}: "
            f"{one_line(error)}). Look at the server that PREFECT_API_URL names; then run the same command "
            f"again: what is drawn is stored. Or set {off}."
        ) from error
    assert isinstance(run, FlowRun)
    tell(f"{deployment} runs as {name!r} on the pool {GPU_POOL!r}")
    return run.id


class PoolRun:
    """One flow run on the pool, as the run that started it sees it."""

    def __init__(self, run_id: UUID, name: str, tell: Tell) -> None:
        """`tell` gets a line if it does not begin within a minute, with the command that helps."""
        self.name = name
        self._id, self._tell = run_id, tell
        self._begun_at, self._looked_at, self._warned = time.monotonic(), float("-inf"), False

    def ended(self) -> str | None:
        """How it has ended, in words; None while it may still begin or work, and at most every three seconds.

        A server that does not answer is asked again.
        """
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return None
        self._looked_at = now
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(self._id).state
                if state is not None and now - self._begun_at > _WARN_AFTER_S:
                    self._warn_once(client, state)
        except ObjectNotFound:
            return "the run was deleted on the Prefect server"
        except (httpx.HTTPError, PrefectException):
            return None
        if state is None or not state.is_final():
            return None
        return f"{state.name}: {state.message or 'it ended before the work was done'}"

    def cancel(self) -> None:
        """Only if it has not begun: one that has ends by itself."""
        self._set(Cancelled(message="It is not needed any more."), only_scheduled=True)

    def end(self) -> None:
        """Have its worker end it, because it did not end by itself."""
        self._set(Cancelling(message="It is not needed any more."), only_scheduled=False)

    def _set(self, wanted: State, *, only_scheduled: bool) -> None:
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(self._id).state
                if (
                    state is not None
                    and not state.is_final()
                    and (state.is_scheduled() or not only_scheduled)
                ):
                    client.set_flow_run_state(self._id, wanted)
        except (httpx.HTTPError, PrefectException):
            return  # once begun, it finds its folder gone, and ends

    def _warn_once(self, client: SyncPrefectClient, state: State) -> None:
        """Say why it has not begun, if it has not."""
        no_node = state.name == WAITS_FOR_A_NODE
        if self._warned or not (state.is_scheduled() or no_node):
            return
        workers = client.read_workers_for_work_pool(GPU_POOL)
        if no_node:
            self._tell(no_node_text(self.name))
        elif not [worker for worker in workers if worker.status == WorkerStatus.ONLINE]:
            kind = client.read_work_pool(GPU_POOL).type
            self._tell(f"{self.name!r} has not begun: {no_worker_text(GPU_POOL, kind)}")
        else:
            self._tell(f"{self.name!r} is waiting for its turn on the pool {GPU_POOL!r} ({state.name})")
        self._warned = True

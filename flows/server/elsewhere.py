"""Runs part of a flow on another work pool: starts its deployment there and waits for its end."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment as own_deployment

from figa_core.errors import ConfigError, FigaError
from flows.progress import Progress, current
from flows.server.names import NO_SIGN_OF_LIFE
from flows.server.versions import check_version
from flows.server.workers import WAITS_FOR_A_NODE, no_node_text, no_worker_text, online_workers

_POLL_S = 2.0
_SERVER_FAULT = 500
_WARN_AFTER_S = 60.0
_COMES_BACK_S = 150.0
"""How long a run that is thought dead may take to say that it is not (`deployments/alive.py`)."""


def started_by_worker() -> bool:
    """Whether this flow or its parent was started from a deployment."""
    return own_deployment.id is not None


async def is_deployed(name: str) -> bool:
    """Whether the server has this deployment."""
    async with get_client() as client:
        try:
            await client.read_deployment_by_name(name)
        except ObjectNotFound:
            return False
    return True


async def run_elsewhere(name: str, run_name: str, parameters: dict[str, Any], *, pool: str) -> None:
    """Run the deployment `name` ("flow/deployment") as part of this flow run, until it has completed.

    Raises:
        ConfigError: see `start_elsewhere`.
        FigaError: it did not complete; the message gives its state.
    """
    started = await start_elsewhere(name, run_name, parameters, pool=pool)
    async with get_client() as client:
        ended = await _wait(client, started, current(), pool, State.is_final)
    if not is_completed(ended):
        raise FigaError(f"{name}, run {started.name!r}: {end_of(ended)}")


async def start_elsewhere(name: str, run_name: str, parameters: dict[str, Any], *, pool: str) -> FlowRun:
    """Start the deployment `name` as part of this flow run.

    Raises:
        ConfigError: there is no such deployment, or another version made it; the message says what to do.
    """
    check_version()
    try:
        async with get_client() as client:
            deployment = await client.read_deployment_by_name(name)
            if deployment.work_pool_name is None:  # it was deleted, and no worker would ever start the run
                raise ConfigError(
                    f"the deployment {name!r} has lost its work pool. Create the pool and connect it again "
                    "with `python -m deployments.deploy` (`make serve` runs it too)."
                )
            started = await arun_deployment(
                name, parameters=parameters, flow_run_name=run_name, timeout=0, client=client
            )
    except ObjectNotFound as error:
        raise ConfigError(
            f"there is no deployment {name!r} on this Prefect server to run on the pool {pool!r}. Create "
            "all deployments with `python -m deployments.deploy` (`make serve` runs it too)."
        ) from error
    current().line(f"{name} runs as {started.name!r} on the pool {pool!r}")
    return started


async def begun(run: FlowRun, *, pool: str) -> None:
    """Return when a run that was started has begun. Raises FigaError if it ended before it did."""

    def is_running(state: State) -> bool:
        return state.is_running() or state.is_final()

    async with get_client() as client:
        found = await _wait(client, run, current(), pool, is_running)
    if found.state is None or not found.state.is_running():
        raise FigaError(f"run {run.name!r}: {end_of(found)}")


def is_completed(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_completed()


def end_of(run: FlowRun) -> str:
    """The final state in words."""
    state = run.state
    return "ended without a state" if state is None else f"{state.name}: {state.message}"


async def _wait(
    client: PrefectClient, run: FlowRun, progress: Progress, pool: str, until: Callable[[State], bool]
) -> FlowRun:
    since, warned, absence = time.monotonic(), False, _Absence(progress)
    while True:
        found = await absence.look(client, run)
        if found is None:
            await asyncio.sleep(_POLL_S)
            continue
        run, state = found, found.state
        if state is not None and until(state):
            return run
        late = time.monotonic() - since > _WARN_AFTER_S
        if late and not warned and state is not None and _waits(state):
            warned = True
            progress.line(await _why_it_waits(client, run, pool))
        await asyncio.sleep(_POLL_S)


class _Absence:
    """A server that does not answer, and a run that gives no sign of life: both may come back."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lost_at: float | None = None
        self._server_away = False

    async def look(self, client: PrefectClient, run: FlowRun) -> FlowRun | None:
        """The run as the server knows it; None if that is not settled yet."""
        try:
            run = await client.read_flow_run(run.id)
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < _SERVER_FAULT:
                raise
            if not self._server_away:
                self._progress.line(f"the Prefect server at {client.api_url} does not answer; asking again")
            self._server_away = True
            return None
        self._server_away = False
        return None if self._may_come_back(run) else run

    def _may_come_back(self, run: FlowRun) -> bool:
        state, now = run.state, time.monotonic()
        if state is None or not state.is_crashed() or not (state.message or "").startswith(NO_SIGN_OF_LIFE):
            self._lost_at = None
            return False
        if self._lost_at is None:
            self._lost_at = now
            self._progress.line(
                f"{run.name!r} gives no sign of life; if only its network is away it has "
                f"{_COMES_BACK_S:.0f} s to come back"
            )
        return now - self._lost_at < _COMES_BACK_S


def _waits(state: State) -> bool:
    return state.is_scheduled() or state.name == WAITS_FOR_A_NODE


async def _why_it_waits(client: PrefectClient, run: FlowRun, pool: str) -> str:
    """The pool has no worker, or its workers are busy, or Kubernetes has no place for its Job."""
    if run.state is not None and run.state.name == WAITS_FOR_A_NODE:
        return no_node_text(run.name)
    workers = await online_workers(client, pool)
    if not workers:
        found = await client.read_work_pool(pool)
        return f"{run.name!r} has not begun: {no_worker_text(pool, found.type)}"
    state = run.state.name if run.state is not None else "no state"
    return (
        f"{run.name!r} is waiting for its turn on the pool {pool!r} ({state}): {len(workers)} worker(s) are "
        "online and busy, or have not looked for work yet"
    )

"""Runs part of a flow on another work pool: starts its deployment there and waits until it ends."""

import asyncio
import time
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment as own_deployment

from figa_core.errors import ConfigError, FigaError
from flows.progress import Progress, current

_POLL_S = 2.0
_SAY_AFTER_S = 30.0


def started_by_worker() -> bool:
    """Whether this flow, or the one that called it, was started from a deployment."""
    return own_deployment.id is not None


async def is_deployed(name: str) -> bool:
    """Whether this run's server has this deployment."""
    async with get_client() as client:
        try:
            await client.read_deployment_by_name(name)
        except ObjectNotFound:
            return False
    return True


async def run_elsewhere(name: str, run_name: str, parameters: dict[str, Any], *, pool: str) -> None:
    """Run the deployment `name` ("flow/deployment") as a part of this flow run, until it has completed.

    Raises:
        ConfigError: there is no such deployment; the message says what creates it.
        FigaError: it ended in another way; the message says how.
    """
    progress = current()
    try:
        await _check_pool(name)
        started = await arun_deployment(name, parameters=parameters, flow_run_name=run_name, timeout=0)
    except ObjectNotFound as error:
        raise ConfigError(
            f"there is no deployment {name!r} on this Prefect server to run on the pool {pool!r}. Create "
            "all deployments with `python -m deployments.deploy` (`make serve` does it too)."
        ) from error
    progress.line(f"{name} runs as {started.name!r} on the pool {pool!r}")
    async with get_client() as client:
        ended = await _wait(client, started, progress, pool)
    state = ended.state
    if state is None or not state.is_completed():
        what = "ended without a state" if state is None else f"{state.name}: {state.message}"
        raise FigaError(f"{name}, run {started.name!r}: {what}")


async def _check_pool(name: str) -> None:
    """Raises ConfigError if the deployment's work pool was deleted: no worker would ever see the run."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(name)
    if deployment.work_pool_name is None:
        raise ConfigError(
            f"the deployment {name!r} has no work pool any more. Create the pool and connect them again with "
            "`python -m deployments.deploy` (`make serve` does it too)."
        )


async def _wait(client: PrefectClient, run: FlowRun, progress: Progress, pool: str) -> FlowRun:
    begun, said = time.monotonic(), False
    while True:
        run = await client.read_flow_run(run.id)
        state = run.state
        if state is not None and state.is_final():
            return run
        late = time.monotonic() - begun > _SAY_AFTER_S
        if state is not None and state.is_scheduled() and late and not said:
            said = True
            progress.line(
                f"{run.name!r} waits for its turn on the pool {pool!r} ({state.name}). If no worker is on "
                f"that pool, start one: `python -m deployments.worker {pool}` (`make serve` does it too)."
            )
        await asyncio.sleep(_POLL_S)

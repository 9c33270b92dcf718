"""A run whose process died while the Prefect server was away is noticed when the server is back."""

import asyncio
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running

from deployments.automations import MISSED_S, dead_runs
from flows.server.process import PrefectServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
AWAY_S = MISSED_S + 90
"""Prefect's default forgets 60 s after the time is up what an automation waits for."""


@flow(name="figa")
def figa() -> None:
    """Never called: a name that the automation knows."""


async def run_with_one_heartbeat(client: PrefectClient) -> UUID:
    run = await client.create_flow_run(figa, state=Running())
    event = {
        "id": str(uuid4()),
        "occurred": run.created.isoformat() if run.created else None,
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        "related": [
            {
                "prefect.resource.id": f"prefect.flow.{run.flow_id}",
                "prefect.resource.role": "flow",
                "prefect.resource.name": "figa",
            }
        ],
    }
    response = await client.request("POST", "/events", json=[event])
    response.raise_for_status()
    return run.id


async def test_a_run_that_died_while_the_server_was_away_for_minutes_is_shown_as_crashed(
    tmp_path: Path,
) -> None:
    first = PrefectServer(tmp_path)
    with first:
        await asyncio.to_thread(first.wait)
        with temporary_settings({PREFECT_API_URL: first.api_url}):
            async with get_client() as client:
                await client.create_automation(dead_runs())
                run_id = await run_with_one_heartbeat(client)
                await asyncio.sleep(20)  # events are evaluated in batches
    await asyncio.sleep(AWAY_S)
    with PrefectServer(tmp_path) as second:
        await asyncio.to_thread(second.wait)
        with temporary_settings({PREFECT_API_URL: second.api_url}):
            async with get_client() as client:
                until = time.monotonic() + 120
                while not (run := await client.read_flow_run(run_id)).state or not run.state.is_crashed():
                    assert time.monotonic() < until, f"the run is {run.state_name}"
                    await asyncio.sleep(2)

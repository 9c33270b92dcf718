"""At SIGTERM, a worker's run stores the answers that still arrive, and Prefect shows it as crashed."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from figa_core.processes.children import child_environment
from flows.server.names import API_URL_VARIABLE
from flows.server.process import PrefectServer

FLOW = """
import asyncio, sys, time
from deployments.termination import stop_gently
stop_gently()
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from figa_core.processes import interruption
from figa_core.errors import InterruptedRunError

@task(cache_policy=NO_CACHE)
def works():
    try:
        print("ready", flush=True)
        time.sleep(120)
    except InterruptedRunError:
        print("stored", flush=True)
        raise

async def waits():
    call = asyncio.create_task(asyncio.sleep(1, "an answer"))  # under way, and paid for
    try:
        asyncio.get_running_loop().call_later(0.1, print, "ready")
        asyncio.get_running_loop().call_later(0.2, sys.stdout.flush)
        await asyncio.sleep(120)
    finally:
        print("stored" if await call == "an answer" else "lost", flush=True)

@flow(name="stopped", flow_run_name=sys.argv[1])
async def stopped():
    with interruption.cancellable():
        {body}

asyncio.run(stopped())
"""


@pytest.mark.parametrize("body", ["works()", "await waits()"], ids=["working", "waiting"])
def test_what_is_under_way_is_stored_and_the_run_is_shown_as_crashed(
    body: str, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FLOW.format(body=body), tmp_path.name],
        env=child_environment(
            **{API_URL_VARIABLE: prefect_server.api_url}, PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL"
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stored\n"
    assert process.returncode != 0
    assert _state(prefect_server, tmp_path.name) == "CRASHED"


def _state(server: PrefectServer, name: str) -> Any:
    wanted = {"flow_runs": {"name": {"any_": [name]}}}
    [run] = httpx2.post(f"{server.api_url}/flow_runs/filter", json=wanted).raise_for_status().json()
    return run["state_type"]

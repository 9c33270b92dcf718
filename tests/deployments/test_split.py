"""The server of docker/compose.yaml, in two parts on PostgreSQL and Redis, with a password."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.benchmarks.figures import save
from tests.deployments.api_samples import ROUTES, sampling
from tests.deployments.conftest import form
from tests.deployments.databases import PASSWORD, databases, reason_against
from tests.deployments.split import AUTH, Split, split
from tests.flows.conftest import KEY, KEY_VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(1500)]

RUNS, PROMPTS = 20, 15
MEMORY_GB = 14.0
"""Of the server and so many runs at once; each run takes about half of one."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    """With databases of its own, which no other server's workers use."""
    if reason := reason_against():
        pytest.skip(reason)
    with (
        databases() as started,
        split(tmp_path_factory.mktemp("split"), started, **{KEY_VARIABLE: KEY}) as each,
    ):
        yield each


def test_a_run_goes_from_the_api_to_a_worker_and_back(server: Split, tmp_path: Path) -> None:
    check = server.get("/deployments/name/check-worker/cpu")
    parameters = {"pool": "cpu", "workspace": str(tmp_path), "token": "none"}
    route = f"/deployments/{check['id']}/create_flow_run"
    run = server.post(route, parameters=parameters, state={"type": "SCHEDULED"})["id"]
    ended = server.ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    facts: dict[str, Any] = json.loads(ended["state"]["message"])
    assert facts["writes"] is True, facts
    for service in ("server", "services", "worker-cpu"):
        assert server.healthy(service), service


def test_nobody_is_let_in_without_the_password(server: Split) -> None:
    for wrong in (None, ("figa", "wrong")):
        answer = httpx.post(f"{server.api_url}/flow_runs/filter", json={}, auth=wrong)
        assert answer.status_code == httpx.codes.UNAUTHORIZED
    password = AUTH.partition(":")[2]
    for log in server.directory.glob("*.log"):
        assert PASSWORD not in log.read_text(), log
        assert password not in log.read_text(), log


def test_with_twenty_runs_at_once_every_request_is_answered(
    server: Split, sandbox: Sandbox, tmp_path: Path
) -> None:
    if psutil.virtual_memory().available < MEMORY_GB * 1e9:
        pytest.skip(f"needs {MEMORY_GB:.0f} GB of free memory")
    deployment = server.deployment("build-dataset")
    answer = server.api.patch(f"/deployments/{deployment['id']}", json={"concurrency_limit": None})
    answer.raise_for_status()
    with TeacherProcess() as teacher, sampling(server.api_url, _auth()) as samples:
        runs = []
        for number in range(RUNS):
            config = form(tmp_path / str(number), sandbox, teacher.base_url, prompts={"limit": PROMPTS})
            runs.append(server.run("build-dataset", config=config))
        at_once = _most_at_once(server, runs)
        ended = [server.ended(run) for run in runs]
    states = [(each["name"], each["state_type"], each["state"]["message"]) for each in ended]
    assert {state for _, state, _ in states} == {"COMPLETED"}, states
    assert samples.troubles == []
    figures = {**samples.figures(), "runs": RUNS, "at once": at_once, "cores": float(os.cpu_count() or 0)}
    save("api_under_load", figures)
    print(f"{at_once} of {RUNS} runs at once")
    for route in (*ROUTES, "all"):
        print(
            f"{route}: p95 {figures[f'{route}: p95']:.2f} s of {figures[f'{route}: requests']:.0f} requests"
        )


def _auth() -> tuple[str, str]:
    name, _, password = AUTH.partition(":")
    return name, password


def _most_at_once(server: Split, runs: list[str]) -> int:
    """How many of them were running at a time, once all have ended."""
    running = [0]

    def ended() -> bool:
        found = server.post("/flow_runs/filter", flow_runs={"id": {"any_": runs}}, limit=RUNS)
        states = [each["state_type"] for each in found]
        running.append(states.count("RUNNING"))
        return not {"SCHEDULED", "PENDING", "RUNNING"} & {*states}

    server.wait_for(ended, 1200)
    return max(running)

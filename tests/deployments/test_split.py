"""The server of docker/compose.yaml, in two parts on PostgreSQL and Redis, with a password."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.benchmarks.figures import save
from tests.deployments.api_samples import ROUTES, sampling
from tests.deployments.databases import PASSWORD, databases, reason_against
from tests.deployments.split import AUTH, Split, split

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(3000)]

RUNS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    """With databases of its own, which no other server's workers use."""
    if reason := reason_against():
        pytest.skip(reason)
    with (
        databases() as started,
        split(tmp_path_factory.mktemp("split"), started) as each,
    ):
        yield each


def test_both_processes_of_the_api_start_on_an_empty_database(server: Split) -> None:
    """Without `deployments.migrate` they often do not: each adds the types of blocks, and one fails."""
    log = (server.directory / "server.log").read_text()
    assert "UniqueViolation" not in log
    assert "registered" in (server.directory / "migrate.log").read_text()


def start_check(server: Split, workspace: Path) -> str:
    """Start a run of `check-worker`, the lightest of ours, in a process as every run is."""
    check = server.get("/deployments/name/check-worker/cpu")
    parameters = {"pool": "cpu", "workspace": str(workspace), "token": "none"}
    route = f"/deployments/{check['id']}/create_flow_run"
    return server.post(route, parameters=parameters, state={"type": "SCHEDULED"})["id"]


def test_a_run_goes_from_the_api_to_a_worker_and_back(server: Split, tmp_path: Path) -> None:
    ended = server.ended(start_check(server, tmp_path), 600)
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


def test_with_twenty_runs_at_once_every_request_is_answered(server: Split, tmp_path: Path) -> None:
    with sampling(server.api_url, _auth()) as samples:
        runs = [start_check(server, tmp_path) for _ in range(RUNS)]
        at_once = _most_at_once(server, runs)
    ended = [server.flow_run(run) for run in runs]
    states = [(each["state_type"], each["state"]["message"]) for each in ended]
    assert {state for state, _ in states} == {"COMPLETED"}, states
    assert samples.troubles == []
    load = os.getloadavg()[1]
    figures = {
        **samples.figures(),
        "runs": RUNS,
        "at once": at_once,
        "cores": os.cpu_count() or 0,
        "load": load,
    }
    save("api_under_load", figures)
    print(f"{at_once} of {RUNS} runs at once, a load of {load:.1f} on {os.cpu_count()} cores")
    for route in (*ROUTES, "all"):
        print(
            f"{route}: p95 {figures[f'{route}: p95']:.2f} s of {figures[f'{route}: requests']:.0f} requests"
        )


def _auth() -> tuple[str, str]:
    name, _, password = AUTH.partition(":")
    return name, password


def _most_at_once(server: Split, runs: list[str]) -> int:
    """How many of them had a process at a time, once all have ended."""
    alive = [0]

    def ended() -> bool:
        found = server.post("/flow_runs/filter", flow_runs={"id": {"any_": runs}}, limit=RUNS)
        states = [each["state_type"] for each in found]
        alive.append(states.count("PENDING") + states.count("RUNNING"))
        return not {"SCHEDULED", "PENDING", "RUNNING"} & {*states}

    server.wait_for(ended, 1800)
    return max(alive)

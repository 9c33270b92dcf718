"""Runs on the pool that work for another: what the server refuses is said in words, and why one waits."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType, Worker
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from figa_core.errors import ConfigError, EngineError
from flows.server import pool_runs
from flows.server.names import SERVE_MODEL, SHARD_DEPLOYMENTS
from flows.server.pool_runs import PoolRun
from flows.server.serving_runs import PrefectServingRuns
from flows.server.shard_runs import PrefectShardRuns

_REQUEST = httpx.Request("POST", "http://server/api/deployments/x/create_flow_run")
_TASK, _DEPLOYMENT = next(iter(SHARD_DEPLOYMENTS.items()))


def _deal(workspace: Path) -> None:
    PrefectShardRuns(workspace, lambda _: None).start(_TASK, workspace / "folder", 0)


def _serve(workspace: Path) -> None:
    PrefectServingRuns(workspace, lambda _: None).start(workspace / "folder")


STARTS = [
    (_deal, _DEPLOYMENT, "w: generate, worker 1", 'generation.workers = "none"'),
    (_serve, SERVE_MODEL, "w: serve a model", "generation.serving.pool = false"),
]


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    def set_to(error: Exception) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(pool_runs, "check_version", lambda: None)
        monkeypatch.setattr(pool_runs, "_start", refuse)

    return set_to


@pytest.mark.parametrize(("start", "deployment", "name", "off"), STARTS)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PrefectHTTPStatusError("Server error '500'", request=_REQUEST, response=httpx.Response(500)),
            r"Server error '500'",
        ),
        (
            httpx.ConnectError("All connection attempts failed"),
            "ConnectError: All connection attempts failed",
        ),
    ],
)
def test_a_server_that_does_not_start_the_run_is_named_with_what_to_do(
    error: Exception,
    words: str,
    start: Callable[[Path], None],
    deployment: str,
    name: str,
    off: str,
    tmp_path: Path,
    refusing: Callable[[Exception], None],
) -> None:
    refusing(error)
    with pytest.raises(EngineError, match=rf"{deployment}, run '{name}': .*{words}.*PREFECT_API_URL.*{off}"):
        start(tmp_path / "w")


@pytest.mark.parametrize(("start", "deployment", "_name", "off"), STARTS)
def test_a_deployment_that_is_missing_is_named_with_the_command_that_makes_it(
    start: Callable[[Path], None],
    deployment: str,
    _name: str,
    off: str,
    tmp_path: Path,
    refusing: Callable[[Exception], None],
) -> None:
    refusing(ObjectNotFound(http_exc=Exception()))
    with pytest.raises(ConfigError, match=rf"'{deployment}'.*python -m deployments\.deploy.*or set {off}"):
        start(tmp_path / "w")


SCHEDULED, RUNNING = State(type=StateType.SCHEDULED, name="Late"), State(type=StateType.RUNNING)
FAILED = State(type=StateType.FAILED, name="Failed", message="no vLLM")
NO_NODE = State(type=StateType.PENDING, name="InfrastructurePending")


@dataclass
class Server:
    """A client of a server on which the run has a state, and the pool so many workers that are online."""

    state: State | httpx.HTTPError | ObjectNotFound
    online: int = 0
    kind: str = "process"
    states_set: list[str | None] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_flow_run(self, run_id: UUID) -> FlowRun:
        if not isinstance(self.state, State):
            raise self.state
        return FlowRun(id=run_id, flow_id=run_id, name="a run", state=self.state)

    def read_workers_for_work_pool(self, _pool: str) -> list[Worker]:
        online = {"name": "w", "work_pool_id": uuid4(), "heartbeat_interval_seconds": 30, "status": "ONLINE"}
        return [Worker.model_validate(online)] * self.online

    def read_work_pool(self, _pool: str) -> Any:
        return SimpleNamespace(type=self.kind)

    def set_flow_run_state(self, _run_id: UUID, state: State) -> None:
        self.states_set.append(state.name)


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], tuple[PoolRun, list[str]]]:
    """The run, and what is said of it; every look is made, and a minute has passed."""
    monkeypatch.setattr(pool_runs, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(pool_runs, "_WARN_AFTER_S", -1.0)

    def make(server: Server) -> tuple[PoolRun, list[str]]:
        monkeypatch.setattr(pool_runs, "get_client", lambda sync_client: server)
        said: list[str] = []
        return PoolRun(uuid4(), "w: serve a model", said.append), said

    return make


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (Server(SCHEDULED), "has no worker that is online. .*python -m deployments.worker gpu"),
        (Server(SCHEDULED, kind="kubernetes"), "prefect worker start --type kubernetes --pool gpu"),
        (Server(SCHEDULED, online=1), r"is waiting for its turn on the pool 'gpu' \(Late\)"),
        (Server(NO_NODE, online=1), "Kubernetes has not started its pod"),
    ],
)
def test_why_a_run_does_not_begin_is_said_once(
    server: Server, words: str, run_on: Callable[[Server], tuple[PoolRun, list[str]]]
) -> None:
    run, said = run_on(server)
    assert (run.ended(), run.ended()) == (None, None)
    [line] = said
    assert line.startswith("'w: serve a model'")
    assert re.search(words, line)


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        (RUNNING, None),
        (FAILED, "Failed: no vLLM"),
        (httpx.ConnectError("away"), None),
        (ObjectNotFound(http_exc=Exception()), "the run was deleted on the Prefect server"),
    ],
)
def test_a_run_ends_by_its_state_and_not_by_a_server_that_is_away(
    state: Any, ended: str | None, run_on: Callable[[Server], tuple[PoolRun, list[str]]]
) -> None:
    run, said = run_on(Server(state))
    assert run.ended() == ended
    assert said == []


def test_a_run_that_is_not_needed_is_cancelled_if_it_has_not_begun_and_ended_only_if_it_stays(
    run_on: Callable[[Server], tuple[PoolRun, list[str]]],
) -> None:
    for state, cancelled, ended in (
        (SCHEDULED, ["Cancelled"], ["Cancelling"]),
        (RUNNING, [], ["Cancelling"]),
        (FAILED, [], []),
    ):
        server = Server(state)
        run, _ = run_on(server)
        run.cancel()
        assert server.states_set == cancelled
        run.end()
        assert server.states_set == [*cancelled, *ended]

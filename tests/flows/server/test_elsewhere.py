"""Waiting for a run on another pool: what may come back is waited for, and that is said."""

import asyncio
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType

from flows.progress import Lines
from flows.server import elsewhere
from flows.server.elsewhere import _wait
from flows.server.names import NO_SIGN_OF_LIFE

RUN = FlowRun(id=uuid4(), flow_id=uuid4(), name="a training")
RUNNING = State(type=StateType.RUNNING)
COMPLETED = State(type=StateType.COMPLETED)
LOST = State(type=StateType.CRASHED, message=f"{NO_SIGN_OF_LIFE} for 90 s")
KILLED = State(type=StateType.CRASHED, message="Flow run infrastructure exited with non-zero status code -9.")


class Server:
    """Answers each request for the run with the next state or error, and then repeats the last one."""

    api_url = "http://server/api"

    def __init__(self, *answers: State | httpx.HTTPError) -> None:
        self._answers = list(answers)

    async def read_flow_run(self, _run_id: UUID) -> FlowRun:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return RUN.model_copy(update={"state": answer})


def status_error(code: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://server/api")
    return httpx.HTTPStatusError(str(code), request=request, response=httpx.Response(code, request=request))


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "_POLL_S", 0.0)


def waited(*answers: State | httpx.HTTPError) -> tuple[State, list[str]]:
    """The final state, and what was said meanwhile."""
    said: list[str] = []
    client = cast(PrefectClient, Server(*answers))
    ended: Any = asyncio.run(_wait(client, RUN, Lines(said.append), "gpu", State.is_final))
    return ended.state, said


def test_a_run_that_was_thought_dead_and_comes_back_is_waited_for() -> None:
    state, said = waited(RUNNING, LOST, LOST, RUNNING, COMPLETED)
    assert state.is_completed()
    assert said == [
        "'a training' gives no sign of life; if only its network is away it has 150 s to come back"
    ]


def test_one_that_does_not_come_back_in_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "_COMES_BACK_S", 0.05)
    assert waited(RUNNING, LOST)[0].is_crashed()


def test_a_run_whose_end_was_reported_is_not_waited_for() -> None:
    state, said = waited(RUNNING, KILLED)
    assert state.message == KILLED.message
    assert said == []


def test_a_job_that_waits_for_a_node_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "_WARN_AFTER_S", 0.0)
    pending = State(type=StateType.PENDING, name="InfrastructurePending")
    state, said = waited(State(type=StateType.PENDING), pending, pending, RUNNING, COMPLETED)
    assert state.is_completed()
    assert len(said) == 1
    assert said[0].startswith("'a training' has not begun: Kubernetes has not started its pod")


def test_a_server_that_is_away_is_asked_again_and_said_once() -> None:
    away = httpx.ConnectError("refused")
    state, said = waited(RUNNING, away, away, status_error(500), COMPLETED)
    assert state.is_completed()
    assert said == ["the Prefect server at http://server/api does not answer; asking again"]


def test_a_request_that_the_server_refuses_is_not_repeated() -> None:
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        waited(RUNNING, status_error(403))

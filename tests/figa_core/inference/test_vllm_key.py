"""The key of vLLM's server: an ASGI application behind the middleware."""

import asyncio
from typing import Any

import pytest

from figa_core.inference.vllm_key import KEY_VARIABLE, RequireKey


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"status": 200})


def answer(middleware: RequireKey, path: str, kind: str = "http", **headers: str) -> dict[str, Any]:
    """The first message that is sent."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(middleware({"type": kind, "path": path, "headers": given}, receive, send))
    return sent[0]


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> RequireKey:
    monkeypatch.setenv(KEY_VARIABLE, "a-key")
    return RequireKey(app)


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/classify", "/invocations", "/metrics", "/", "/health/.."]
)
def test_every_route_needs_the_key(guarded: RequireKey, path: str) -> None:
    assert answer(guarded, path)["status"] == 401
    for wrong in ("Bearer a-ke", "Bearer a-keys", "a-key", "Bearer é"):
        assert answer(guarded, path, Authorization=wrong)["status"] == 401
    assert answer(guarded, path, authorization="Bearer a-key")["status"] == 200


def test_whether_it_is_healthy_may_be_asked_without(guarded: RequireKey) -> None:
    assert answer(guarded, "/health")["status"] == 200


def test_a_websocket_without_the_key_is_closed(guarded: RequireKey) -> None:
    assert answer(guarded, "/v1/realtime", "websocket") == {"type": "websocket.close", "code": 1008}
    assert answer(guarded, "/v1/realtime", "websocket", Authorization="Bearer a-key")["status"] == 200


def test_the_start_and_end_of_the_server_need_none(guarded: RequireKey) -> None:
    assert answer(guarded, "", "lifespan")["status"] == 200


def test_a_server_without_a_key_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert answer(RequireKey(app), "/v1/completions")["status"] == 200

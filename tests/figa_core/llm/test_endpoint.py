"""The outcomes of calls over real sockets."""

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from figa_core.errors import LLMError
from figa_core.llm.calls import CallOutcome
from figa_core.llm.endpoint import ChatEndpoint
from figa_core.llm.reply import Reply
from figa_core.llm.stated import StatedLimit, StatedLimits

KEY = "sk-this-must-never-be-seen-anywhere"
QUESTION = [{"role": "user", "content": "Better?"}]
BODY = json.dumps({"choices": [{"message": {"content": "better"}, "finish_reason": "stop"}]}).encode()


class RawServer:
    """Answers every request with the same bytes and hangs up; keeps the requests' heads."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.heads: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self._answer)
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[RawServer]:
    server = RawServer(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


async def ask(address: str, *, timeout_s: float = 5.0, key: str = KEY) -> Reply:
    endpoint = ChatEndpoint(address, "m", key, timeout_s=timeout_s, section="revision")
    try:
        return await endpoint.ask(QUESTION, temperature=0.0, max_tokens=5)
    finally:
        await endpoint.aclose()


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    return (
        "\r\n".join([f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", ""]).encode() + body
    )


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (http(BODY), CallOutcome.ANSWERED),
        (http(gzip.compress(BODY, mtime=0), "200 OK", "content-encoding: gzip"), CallOutcome.ANSWERED),
        (http(BODY, "200 OK", "content-encoding: gzip"), CallOutcome.CONNECTION_LOST),
        (b"", CallOutcome.CONNECTION_LOST),
        (b"HTTP/1.1 200 OK\r\nconte", CallOutcome.CONNECTION_LOST),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + BODY, CallOutcome.CONNECTION_LOST),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", CallOutcome.CONNECTION_LOST),
        (b"this is no HTTP at all\r\n\r\n", CallOutcome.CONNECTION_LOST),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", CallOutcome.CONNECTION_LOST),
    ],
)
async def test_the_response_decides_the_outcome(answer: bytes, outcome: CallOutcome):
    async with raw_server(answer) as server:
        reply = await ask(f"http://127.0.0.1:{server.port}/v1")
    assert reply.outcome is outcome, reply
    assert reply.message or outcome is CallOutcome.ANSWERED


@pytest.mark.parametrize(
    ("headers", "where"),
    [((), "nowhere"), (("location: /v2",), "/v2"), ((f"location: /{'x' * 300}",), f"/{'x' * 199}")],
)
async def test_a_redirect_is_reported_with_its_target(headers: tuple[str, ...], where: str):
    for status in (302, 307) if not headers else (302,):
        async with raw_server(http(b"", f"{status} Found", *headers)) as server:
            reply = await ask(f"http://127.0.0.1:{server.port}/v1")
        message = f"HTTP {status}: a redirect to {where}"
        assert reply == Reply(CallOutcome.WRONG_ADDRESS, message, status=status)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_failed_connection_is_distinguished_from_a_lost_one(host: str):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        reply = await ask(f"http://{host}:{unused.getsockname()[1]}/v1")
    assert reply.outcome is CallOutcome.CONNECTION_FAILED
    assert "Cannot connect to host" in str(reply.message)


async def test_an_unknown_host_is_a_failed_connection():
    reply = await ask("http://no-such-host.invalid/v1")
    assert reply.outcome is CallOutcome.CONNECTION_FAILED


async def test_a_server_without_tls_is_a_failed_connection():
    async def speak_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"This is no TLS.")
        writer.close()

    async with await asyncio.start_server(speak_plainly, "127.0.0.1", 0) as listener:
        reply = await ask(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1")
    assert reply.outcome is CallOutcome.CONNECTION_FAILED


async def test_a_connection_that_is_not_accepted_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("figa_core.llm.endpoint._CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for caller in (first, second):  # fill the queue of connections to accept
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        reply = await ask(f"http://127.0.0.1:{full.getsockname()[1]}/v1")
    assert reply.outcome is CallOutcome.CONNECTION_FAILED
    assert "timeout" in str(reply.message).lower()


async def test_an_answer_that_trickles_in_for_too_long_is_a_timeout():
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(http(b"")[:-21] + b"content-length: 500\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except (ConnectionError, asyncio.CancelledError):
            writer.close()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as listener:
        reply = await ask(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1", timeout_s=0.3)
    assert reply.outcome is CallOutcome.TIMEOUT
    assert "0.3 s" in str(reply.message)


@pytest.mark.parametrize("status", ["200 OK", "429 Too Many Requests"])
async def test_limits_are_read_from_the_headers_of_answers_and_errors(status: str):
    headers = ("x-ratelimit-limit-requests: 500", "X-RateLimit-Remaining-Tokens: 7")
    async with raw_server(http(BODY, status, *headers)) as server:
        reply = await ask(f"http://127.0.0.1:{server.port}/v1")
    assert reply.limits == StatedLimits(StatedLimit(limit=500), StatedLimit(remaining=7))


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "418 I'm a teapot", "500 Oh"])
async def test_a_key_that_the_provider_repeats_is_masked(status: str):
    async with raw_server(
        http(json.dumps({"error": {"message": f"not with {KEY}"}}).encode(), status)
    ) as server:
        reply = await ask(f"http://127.0.0.1:{server.port}/v1")
    assert "not with [key]" in str(reply.message)
    assert KEY not in repr(reply)


async def test_user_and_password_of_an_address_replace_the_key():
    async with raw_server(http(BODY)) as server:
        reply = await ask(f"http://me:s%40cret@127.0.0.1:{server.port}/v1")
    assert reply.outcome is CallOutcome.ANSWERED
    (head,) = server.heads
    assert "authorization: basic bwu6c0bjcmv0" in head.lower()
    assert KEY not in head


async def test_many_calls_at_once_share_few_connections_and_leave_none():
    served = 0

    async def keep_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
                writer.write(http(BODY))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    async with await asyncio.start_server(keep_alive, "127.0.0.1", 0) as listener:
        address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        endpoint = ChatEndpoint(address, "m", KEY, timeout_s=5.0, section="revision")
        for _ in range(5):
            replies = await asyncio.gather(*(endpoint.ask(QUESTION) for _ in range(20)))
            assert {reply.outcome for reply in replies} == {CallOutcome.ANSWERED}
        await endpoint.aclose()
        await endpoint.aclose()
    assert served <= 20


@pytest.mark.parametrize("address", ["http://host:port/v1", "http://host:99999/v1", "http://:80/v1"])
def test_an_address_with_an_impossible_port_or_no_host_is_refused(address: str):
    with pytest.raises(LLMError, match="base_url"):
        ChatEndpoint(address, "m", KEY, timeout_s=1.0, section="revision")


def connect(url: str = "http://127.0.0.1:1/v1", key: str = KEY) -> ChatEndpoint:
    return ChatEndpoint(url, "m", key, timeout_s=1, section="grading")


@pytest.mark.parametrize("key", ["", " sk-secret", "sk-secret\n", "sk-sécret"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str):
    with pytest.raises(LLMError, match=r"grading\.api_key_env") as caught:
        connect(key=key)
    assert not key.strip() or key.strip() not in str(caught.value)


@pytest.mark.parametrize("url", ["", "api.example.com/v1", "ftp://example.com", "http://[broken"])
def test_a_malformed_address_is_refused(url: str):
    with pytest.raises(LLMError, match=r"grading\.base_url"):
        connect(url)


def test_a_password_in_the_address_is_not_shown():
    endpoint = connect("https://me:secret@example.com/v1?key=secret")
    assert repr(endpoint) == "ChatEndpoint(url='https://example.com/v1', model='m')"

"""A chat completions server that misbehaves as a script tells it, down to the bytes on the socket."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

DRAFT = "Hello Ann, your blue lamp will arrive in Rome in three days."
REVISED = "Hello Ann, your red lamp will arrive in Rome in three days."


@dataclass
class Reaction:
    """The response to one request; `sent_bytes` cuts its body short and resets the connection."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    sent_bytes: int | None = None


@dataclass
class Received:
    """One request as the server saw it."""

    at: float
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def draft(self) -> str:
        return (
            self.body["messages"][-1]["content"].rpartition("<response>\n")[2].removesuffix("\n</response>")
        )


class MisbehavingServer:
    """`script` decides on each request, given its number from 0; all requests are kept in `received`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.script: Callable[[int, Received], Reaction] = lambda number, request: self.completion(REVISED)
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()

    def completion(self, text: str | None, finish_reason: str | None = "stop", **extra: Any) -> Reaction:
        message = {"role": "assistant", "content": text, "refusal": extra.get("refusal")}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        choices = [{"index": 0, "message": message, "finish_reason": finish_reason}]
        body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
        return self.json({**body, "usage": extra.get("usage", usage)}, delay_s=extra.get("delay_s", 0.0))

    def json(self, body: Any, **fields: Any) -> Reaction:
        return Reaction(body=json.dumps(body).encode(), **fields)

    def error(self, status: int, message: str = "no", **extra: Any) -> Reaction:
        headers = extra.pop("headers", {})
        return self.json({"error": {"message": message, **extra}}, status=status, headers=headers)

    def cut(self, after: int) -> Reaction:
        """A completion of which so many bytes arrive before the connection is reset."""
        reaction = self.completion(REVISED)
        reaction.sent_bytes = after
        return reaction

    def in_turn(self, *reactions: Reaction) -> None:
        """React like this to the first requests, and answer all others properly."""
        self.script = lambda number, _: (
            reactions[number] if number < len(reactions) else self.completion(REVISED)
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        number = len(self.received)
        self.received.append(Received(time.monotonic(), body, headers))
        reaction = self.script(number, self.received[number])
        await asyncio.sleep(reaction.delay_s)
        length = {"content-type": "application/json", "content-length": str(len(reaction.body))}
        lines = [
            f"HTTP/1.1 {reaction.status} X",
            *(f"{k}: {v}" for k, v in (length | reaction.headers).items()),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + reaction.body[: reaction.sent_bytes])
        await writer.drain()
        if reaction.sent_bytes is not None:
            await asyncio.sleep(0.01)
            writer.transport.abort()
            return False
        return True

    def hang_up(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()


@asynccontextmanager
async def misbehaving_server() -> AsyncIterator[MisbehavingServer]:
    """A server on a free port of this machine."""
    server = MisbehavingServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
        server.hang_up()
        await asyncio.sleep(0.01)

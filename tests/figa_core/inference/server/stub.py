"""A vLLM server over real sockets, whose answers are a function of the request, and which can misbehave."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from aiohttp import web

STOP = 2
Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse | None]]


def sample(prompt: list[int], seed: int, length: int) -> list[int]:
    """What a stub draws; `STOP` ends it."""
    return [3 + (sum(prompt) + seed + place) % 20 for place in range(length)] + [STOP]


def reward(ids: list[int]) -> float:
    return sum(ids) / 7


def completion(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The body of an answer as vLLM writes it; `changes` are to its one choice."""
    prompt, seed = body["prompt"], body["seed"]
    choice = {
        "index": 0,
        "text": "…",
        "finish_reason": "stop",
        "token_ids": sample(prompt, seed, 3),
        "prompt_token_ids": prompt,
    }
    return {"id": "x", "object": "text_completion", "model": body["model"], "choices": [choice | changes]}


def error(status: int, message: str, **headers: str) -> web.Response:
    body = {"error": {"message": message, "type": "BadRequestError", "code": status}}
    return web.json_response(body, status=status, headers=headers)


class StubServer:
    """`before` may answer a request in place of the stub; all completions and texts are in `bodies`."""

    def __init__(self, *, name: str = "tiny", max_length: int | None = 300, port: int = 0) -> None:
        self.name, self.max_length, self.port = name, max_length, port
        self.owner = "vllm"
        self.root: str | None = None
        self.before: Answer | None = None
        self.models: Callable[[], web.Response] | None = None
        self.waiting: int | None = 0
        self.metrics: Callable[[], web.Response] | None = None
        self.delay_s = 0.0
        self.resets = False  # every request for samples or rewards, as a proxy without a server behind it
        self.adapters: dict[str, str] = {}
        self.has_room_for_adapters = True
        self.loads = 0
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self.certificate: Path | None = None  # with it, it answers by TLS only
        self._at_once = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self.certificate is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; on the same port as before, if it was started before."""
        ready = threading.Event()
        loop = asyncio.new_event_loop()

        def run() -> None:
            loop.run_until_complete(self._listen())
            ready.set()
            loop.run_forever()
            loop.close()

        self._loop = loop
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        """As if it was killed: open connections break off."""
        loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._close(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(10)

    async def _listen(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v1/models", self._list)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._metrics)
        app.router.add_post("/v1/load_lora_adapter", self._load)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/classify", self._classify)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
        await self._runner.setup()
        tls = None
        if self.certificate is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(self.certificate)
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=tls)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # pyright: ignore[reportAttributeAccessIssue]

    async def _close(self) -> None:
        assert self._runner is not None
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()
        await self._runner.cleanup()

    async def _list(self, _request: web.Request) -> web.Response:
        if self.models is not None:
            return self.models()
        card = {"id": self.name, "object": "model", "owned_by": self.owner, "max_model_len": self.max_length}
        card["root"] = self.root
        loras = [{"id": name, "object": "model", "owned_by": "vllm"} for name in self.adapters]
        return web.json_response({"object": "list", "data": [card, *loras]})

    async def _load(self, request: web.Request) -> web.Response:
        if not self.has_room_for_adapters:
            raise web.HTTPNotFound
        self.loads += 1
        body = await request.json()
        self.adapters[body["lora_name"]] = body["lora_path"]
        return web.Response(text="Success")

    async def _metrics(self, _request: web.Request) -> web.Response:
        if self.metrics is not None:
            return self.metrics()
        if self.waiting is None:
            raise web.HTTPNotFound
        line = f'vllm:num_requests_waiting{{engine="0",model_name="{self.name}"}} {float(self.waiting)}\n'
        return web.Response(text=f"# TYPE vllm:num_requests_waiting gauge\n{line}")

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, lambda body: web.json_response(completion(body)))

    async def _classify(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, lambda body: web.json_response(rewards(body)))

    async def _answer(
        self, request: web.Request, usual: Callable[[dict[str, Any]], web.Response]
    ) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.resets and request.transport is not None:
                request.transport.abort()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            other = await self.before(body) if self.before else None
            return other if other is not None else usual(body)
        finally:
            self._at_once -= 1


def rewards(body: dict[str, Any]) -> dict[str, Any]:
    """The body of an answer to a request for rewards."""
    rows = [
        {"index": place, "label": "LABEL_0", "probs": [reward(ids)], "num_classes": 1}
        for place, ids in enumerate(body["input"])
    ]
    return {"id": "x", "object": "list", "model": body["model"], "data": rows}

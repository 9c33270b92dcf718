"""A vLLM server of fixed latency and capacity, in a process of its own, which draws nothing real.

    python -m tests.benchmarks.stub_server PORT_FILE DRAWN_FILE LATENCY_S CAPACITY

It works on CAPACITY requests at a time, for LATENCY_S each; further ones wait in its queue, whose length its
metrics tell. DRAWN_FILE gets the seed of every request that it has worked on.
"""

import asyncio
import sys
from pathlib import Path

from aiohttp import web

from figa_core.processes.children import die_with_parent

STOP = 2


class Stub:
    def __init__(self, drawn: Path, latency_s: float, capacity: int) -> None:
        self._drawn, self._latency_s = drawn.open("a", buffering=1), latency_s
        self._free, self._waiting = asyncio.Semaphore(capacity), 0

    async def models(self, _request: web.Request) -> web.Response:
        card = {"id": "stub", "object": "model", "owned_by": "vllm", "max_model_len": 4096}
        return web.json_response({"object": "list", "data": [card]})

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=f"vllm:num_requests_waiting {float(self._waiting)}\n")

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._waiting += 1
        async with self._free:
            self._waiting -= 1
            await asyncio.sleep(self._latency_s)
        print(body["seed"], file=self._drawn)
        choice = {"index": 0, "finish_reason": "stop", "token_ids": [3, 4, STOP]}
        return web.json_response({"model": "stub", "choices": [choice]})


async def serve(port_file: Path, drawn: Path, latency_s: float, capacity: int) -> None:
    """Until the process is ended."""
    stub, app = Stub(drawn, latency_s, capacity), web.Application()
    app.router.add_get("/v1/models", stub.models)
    app.router.add_get("/metrics", stub.metrics)
    app.router.add_post("/v1/completions", stub.complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    part = port_file.with_suffix(".part")
    part.write_text(str(runner.addresses[0][1]))
    part.rename(port_file)
    await asyncio.Event().wait()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))

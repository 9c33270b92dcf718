"""The bare openai client: no retries, no typed response models, no limit, no storage."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai

from tests.benchmarks.revision_ours import DEFAULT_CONCURRENCY
from tests.benchmarks.revision_spec import MAX_TOKENS, Outcome, Spec, Watch


def run(spec: Spec) -> Outcome:
    """Ask for every row once, over aiohttp or httpx2."""
    return asyncio.run(_run(spec))


async def _run(spec: Spec) -> Outcome:
    transport = openai.DefaultAioHttpClient() if spec.kind == "bare" else openai.DefaultAsyncHttpx2Client()
    watch = Watch(spec.warm_up)
    rows = spec.read_rows()
    async with openai.AsyncOpenAI(
        base_url=spec.base_url, api_key="none", max_retries=0, http_client=transport
    ) as client:
        answered = await asyncio.gather(
            *(_work(client, spec.model, rows, watch) for _ in range(DEFAULT_CONCURRENCY))
        )
        return watch.outcome(sum(answered))


async def _work(client: openai.AsyncOpenAI, model: str, rows: Iterator[dict[str, Any]], watch: Watch) -> int:
    answered = 0
    for row in rows:
        body = {"model": model, "messages": row["messages"], "temperature": 0, "max_tokens": MAX_TOKENS}
        response = await client.post("/chat/completions", body=body, cast_to=httpx2.Response)
        answered += bool(json.loads(response.content)["choices"][0]["message"]["content"])
        watch.row()
    return answered

"""One run that calls the teacher under shared limits; `two_processes` in test_shared_limits.py starts it."""

import asyncio
import sys

import httpx

from figa_core.llm.limiter import RateLimiter
from figa_core.llm.refusals import read_error
from figa_core.llm.replies import read_completion
from figa_core.llm.stated import read_limits
from tasks.shared_limits import shared_permits

_CALLS = 32


async def call_for(seconds: float, name: str, base_url: str, per_minute: float, tokens: float) -> None:
    """Call as the reviser does: limiter, request, and the limits in its headers back to the limiter."""
    message = {"role": "user", "content": "word " * 99 + "<response>\nHello.\n</response>"}
    body = {"model": "sandbox-teacher", "messages": [message]}
    loop = asyncio.get_running_loop()
    async with shared_permits(name) as shared, httpx.AsyncClient(limits=httpx.Limits()) as client:
        limiter = RateLimiter(per_minute, tokens, shared=shared)
        end = loop.time() + seconds

        async def work() -> None:
            while loop.time() < end:
                await limiter.acquire(110)
                sent_at = loop.time()
                response = await client.post(f"{base_url}/chat/completions", json=body)
                limits = read_limits(response.headers)
                limiter.observe(limits, sent_at)
                if response.status_code == 200:
                    limiter.settle(110, read_completion(response.content).used_tokens)
                else:
                    reply = read_error(response.status_code, response.content, response.headers, now=0.0)
                    limiter.refund(110)
                    limiter.throttle(sent_at, reply.retry_after_s, limits)

        await asyncio.gather(*(work() for _ in range(_CALLS)))


if __name__ == "__main__":
    _, _name, _url, _seconds, _per_minute, _tokens = sys.argv
    asyncio.run(call_for(float(_seconds), _name, _url, float(_per_minute), float(_tokens)))

"""The two figures of the rate limits, with the teacher in its own process, by its log."""

import asyncio
import json

import pytest

from figa_core.llm.calls import CallOutcome
from figa_core.llm.endpoint import ChatEndpoint
from figa_core.llm.limiter import RateLimiter
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.figa_core.llm.virtual import largest_window

MESSAGES = [{"role": "user", "content": "word " * 20}]
TOKENS = 36  # by the teacher's count
CALLS = 64


async def call_for(seconds: float, teacher: TeacherProcess, limiter: RateLimiter) -> None:
    """Call like the reviser, as fast as the limiter permits."""
    loop = asyncio.get_running_loop()
    endpoint = ChatEndpoint(teacher.base_url, "sandbox-teacher", "any", timeout_s=30, section="s")
    end = loop.time() + seconds

    async def work() -> None:
        while loop.time() < end:
            await limiter.acquire(TOKENS)
            sent_at = loop.time()
            reply = await endpoint.ask(MESSAGES, temperature=0.0, max_tokens=100)
            limiter.observe(reply.limits, sent_at)
            if reply.outcome is CallOutcome.RATE_LIMITED:
                limiter.refund(TOKENS)
                limiter.throttle(sent_at, reply.retry_after_s, reply.limits)
            else:
                assert reply.outcome is CallOutcome.ANSWERED, reply.message
                limiter.settle(TOKENS, reply.used_tokens)

    try:
        await asyncio.gather(*(work() for _ in range(CALLS)))
    finally:
        await endpoint.aclose()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times_too_high", "seconds", "used_min", "refused_max"),
    [(1, 90, 0.97, 0.0), (2, 185, 0.9, 0.02)],
    ids=["configured right", "configured twice too high"],
)
@pytest.mark.parametrize(
    ("requests", "tokens"), [(6000, 60_000_000), (60_000, 100_000)], ids=["requests", "tokens"]
)
async def test_the_permitted_rate_is_sustained(
    requests: int, tokens: int, times_too_high: int, seconds: float, used_min: float, refused_max: float
):
    with TeacherProcess(requests_per_minute=requests, tokens_per_minute=tokens, latency_s=0.1) as teacher:
        await call_for(seconds, teacher, RateLimiter(requests * times_too_high, tokens * times_too_high))
        lines = [json.loads(line) for line in teacher.log.read_text().splitlines()]
    answered = [line for line in lines if line["outcome"] == "answered"]
    times = [line["time"] for line in answered]
    amounts = [1.0] * len(times) if requests == 6000 else [float(line["tokens"]) for line in answered]
    permitted = requests if requests == 6000 else tokens
    whole = int((times[-1] - times[0]) // 60) * 60
    used = sum(amount for time, amount in zip(times, amounts, strict=True) if time >= times[-1] - whole)
    figures = used / permitted * 60 / whole, 1 - len(answered) / len(lines)
    print(f"{figures[0]:.2%} of the permitted rate over {whole} s, {figures[1]:.3%} got a 429")
    assert largest_window(times, amounts, 60) <= permitted
    assert figures[0] >= used_min
    assert figures[1] <= refused_max

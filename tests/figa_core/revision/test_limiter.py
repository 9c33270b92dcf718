"""The limits hold over every minute, on a clock that runs as fast as the test."""

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from figa_core.revision.limiter import RateLimiter, estimate_tokens


class _InstantSelector(selectors.DefaultSelector):
    """Instead of waiting, moves the clock."""

    now = 1000.0

    def select(self, timeout: float | None = None):
        self.now += 1e-6 + (timeout or 0.0)
        return super().select(0)


def on_fast_clock(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run `main` on a loop whose waits cost nothing."""
    selector = _InstantSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def now() -> float:
    return asyncio.get_running_loop().time()


async def passes(
    limiter: RateLimiter, tokens: list[int], during: Awaitable[None] | None = None
) -> list[float]:
    """Times at which requests of so many tokens pass, all of them waiting from the start."""
    times = [0.0] * len(tokens)

    async def one(index: int) -> None:
        await limiter.acquire(tokens[index])
        times[index] = now()

    await asyncio.gather(*(one(i) for i in range(len(tokens))), *([during] if during is not None else []))
    return times


def largest_window(times: list[float], amounts: list[float], seconds: float) -> float:
    """The largest sum of amounts over any window of so many seconds."""
    return max(
        sum(amount for time, amount in zip(times, amounts, strict=True) if start <= time < start + seconds)
        for start in times
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.integers(1, 150))
def test_over_any_minute_no_more_requests_pass_than_permitted(per_minute: int, count: int):
    limiter = RateLimiter(per_minute, 1e9)
    times = on_fast_clock(lambda: passes(limiter, [1] * count))
    assert largest_window(times, [1] * count, 60) <= per_minute


@settings(max_examples=40, deadline=None)
@given(st.integers(100, 50_000), st.lists(st.integers(1, 50), min_size=1, max_size=60))
def test_over_any_minute_no_more_tokens_pass_than_permitted(per_minute: int, hundredths: list[int]):
    """Requests of up to half a minute's tokens, many times what the bucket holds."""
    tokens = [max(1, per_minute * part // 100) for part in hundredths]
    limiter = RateLimiter(1e6, per_minute)
    times = on_fast_clock(lambda: passes(limiter, tokens))
    assert largest_window(times, [float(t) for t in tokens], 60) <= per_minute


def test_the_permitted_rate_is_used_and_there_is_no_burst_at_the_start():
    times = on_fast_clock(lambda: passes(RateLimiter(6000, 1e9), [1] * 12_000))
    assert 12_000 / (times[-1] - times[0]) * 60 >= 0.97 * 6000
    first_second = sum(time < times[0] + 1 for time in times)
    assert first_second <= 6000 / 60 * 1.3


def test_the_permitted_tokens_are_used():
    times = on_fast_clock(lambda: passes(RateLimiter(1e6, 600_000), [500] * 2400))
    assert 2400 * 500 / (times[-1] - times[0]) * 60 >= 0.97 * 600_000


def test_a_request_larger_than_a_whole_minute_passes():
    (time,) = on_fast_clock(lambda: passes(RateLimiter(60, 1000), [5000]))
    assert 300 <= time - 1000 <= 700


def test_requests_pass_in_the_order_in_which_they_came():
    tokens = [1000, 1, 500, 1, 1, 900]
    times = on_fast_clock(lambda: passes(RateLimiter(6000, 6000), tokens))
    assert times == sorted(times)


@pytest.mark.parametrize(("used", "rate"), [(250, 2.0), (1000, 0.5)])
def test_usage_corrects_the_estimate(used: int, rate: float):
    """Estimates of 500 tokens that turn out to be half or twice as many."""

    async def main() -> float:
        limiter = RateLimiter(1e6, 60_000)
        start = now()
        for _ in range(200):
            await limiter.acquire(500)
            limiter.settle(500, used)
        return 200 / (now() - start)

    plain = 60_000 / 60 / 500
    assert on_fast_clock(main) == pytest.approx(plain * rate, rel=0.06)


def test_an_idle_time_saves_up_no_credit():
    async def main() -> float:
        limiter = RateLimiter(1e6, 60_000)
        for _ in range(50):
            await limiter.acquire(100)
            limiter.settle(100, 0)
        start = now()
        await passes(limiter, [100] * 50)
        return now() - start

    assert on_fast_clock(main) >= (50 * 100 - 2 * 250 - 100) / 1000


def test_after_a_429_everybody_waits_as_long_as_asked_and_the_rate_falls_and_recovers():
    async def main() -> None:
        limiter = RateLimiter(600, 1e9)
        await limiter.acquire(1)
        throttled = now()
        assert limiter.throttle(throttled, 7.0) == 7.0
        times = await passes(limiter, [1] * 30)
        assert min(times) >= throttled + 7.0
        assert 30 / (times[-1] - times[0]) < 0.85 * 10
        await asyncio.sleep(60)
        assert limiter.share() == 1.0

    on_fast_clock(main)


def test_429s_of_calls_under_way_together_lower_the_rate_once():
    async def main() -> None:
        limiter = RateLimiter(600, 1e9)
        sent_at = now()
        await asyncio.sleep(0.1)
        for _ in range(20):
            limiter.throttle(sent_at, 0.5)
        assert limiter.share() == pytest.approx(0.7)
        await asyncio.sleep(0.1)
        limiter.throttle(now(), 0.5)
        assert limiter.share() == pytest.approx(0.49)

    on_fast_clock(main)


def test_429s_without_a_wait_double_the_pause_until_something_is_answered():
    async def main() -> list[float]:
        limiter = RateLimiter(600, 1e9)
        pauses = []
        for _ in range(7):
            await asyncio.sleep(1)
            pauses.append(limiter.throttle(now(), None))
        limiter.settle(1, 1)
        await asyncio.sleep(1)
        return [*pauses, limiter.throttle(now(), None)]

    assert on_fast_clock(main) == [1, 2, 4, 8, 16, 30, 30, 1]


def test_a_pause_during_a_wait_is_obeyed():
    async def main() -> None:
        limiter = RateLimiter(60, 1e9)
        start = now()

        async def pause_later() -> None:
            await asyncio.sleep(1.5)
            limiter.pause(10)

        times = await passes(limiter, [1] * 4, pause_later())
        assert not any(start + 1.5 < time < start + 11.5 for time in times)

    on_fast_clock(main)


def test_a_cancelled_wait_lets_the_next_one_pass():
    async def main() -> None:
        limiter = RateLimiter(60, 1e9)
        await limiter.acquire(1)
        waiting = [asyncio.create_task(limiter.acquire(1)) for _ in range(2)]
        await asyncio.sleep(0.1)
        waiting[0].cancel()
        start = now()
        await waiting[1]
        assert now() - start < 2.1

    on_fast_clock(main)


@given(st.lists(st.text(max_size=200), max_size=5), st.text(max_size=500), st.integers(1, 100))
def test_an_estimate_covers_the_prompt_and_at_most_the_longest_answer(
    texts: list[str], draft: str, most: int
):
    prompt = sum(math.ceil(len(text) / 4) + 4 for text in texts)
    assert prompt < estimate_tokens(texts, draft, most) <= prompt + most

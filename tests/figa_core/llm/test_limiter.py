"""The limits hold over every minute, on a fast clock."""

import asyncio
import math
import random
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from figa_core.llm.limiter import RateLimiter, estimate_tokens
from tests.figa_core.llm.virtual import Run, Sliding, drive, largest_window, now, on_fast_clock, share


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


def test_requests_pass_in_order_of_arrival():
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


def test_unused_tokens_are_not_saved_up():
    async def main() -> float:
        limiter = RateLimiter(1e6, 60_000)
        for _ in range(50):
            await limiter.acquire(100)
            limiter.settle(100, 0)
        start = now()
        await passes(limiter, [100] * 50)
        return now() - start

    assert on_fast_clock(main) >= (50 * 100 - 2 * 250 - 100) / 1000


def test_after_a_429_all_calls_wait_and_the_rate_falls_and_recovers():
    async def main() -> None:
        limiter = RateLimiter(600, 1e9)
        await limiter.acquire(1)
        throttled = now()
        assert limiter.throttle(throttled, 7.0) == 7.0
        times = await passes(limiter, [1] * 30)
        assert min(times) >= throttled + 7.0
        assert 30 / (times[-1] - times[0]) < 0.85 * 10
        await asyncio.sleep(60)
        assert share(limiter) == 1.0

    on_fast_clock(main)


def test_429s_of_calls_under_way_together_lower_the_rate_once():
    async def main() -> None:
        limiter = RateLimiter(600, 1e9)
        sent_at = now()
        await asyncio.sleep(0.1)
        for _ in range(20):
            limiter.throttle(sent_at, 0.5)
        assert share(limiter) == pytest.approx(0.7)
        await asyncio.sleep(0.1)
        limiter.throttle(now(), 0.5)
        assert share(limiter) == pytest.approx(0.49)

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


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(120, 3000), st.integers(20_000, 300_000))
def test_over_any_minute_both_limits_hold_with_calls_of_all_sizes(seed: int, requests: int, tokens: int):
    async def main() -> Run:
        rng = random.Random(seed)
        largest = tokens // 10
        limiter = RateLimiter(requests, tokens)
        return await drive(
            limiter,
            Sliding(1e9),
            100,
            latency_s=0.05,
            workers=20,
            tokens=lambda: int(largest ** rng.random()),
        )

    run = on_fast_clock(main)
    assert largest_window(run.admitted, [1.0] * len(run.admitted), 60) <= requests
    assert largest_window(run.admitted, run.tokens, 60) <= tokens


@given(st.lists(st.text(max_size=200), max_size=5), st.integers(1, 500), st.integers(1, 100))
def test_an_estimate_covers_the_prompt_and_at_most_the_longest_answer(
    texts: list[str], answer: int, most: int
):
    prompt = sum(math.ceil(len(text) / 4) + 4 for text in texts)
    assert estimate_tokens(texts, answer, most) == prompt + min(answer, most)


def test_a_refunded_reservation_costs_nothing():
    """A missing refund would leave the plain rate, one with the wrong sign half of it."""

    async def main() -> float:
        limiter = RateLimiter(1e6, 60_000)
        start = now()
        for _ in range(200):
            await limiter.acquire(500)
            limiter.refund(500)
        return now() - start

    assert on_fast_clock(main) < 1.0  # 100 s at the plain rate


def test_a_refund_is_credit_for_one_call_and_no_more():
    async def main() -> float:
        limiter = RateLimiter(1e6, 60_000)
        await limiter.acquire(500)
        for _ in range(50):
            limiter.refund(500)
        start = now()
        await passes(limiter, [500] * 20)
        return now() - start

    assert on_fast_clock(main) >= (20 * 500 - 3 * 500) / 1000


def test_a_busy_server_gets_longer_and_longer_pauses():
    async def main() -> list[float]:
        limiter = RateLimiter(600, 1e9)
        pauses = []
        for _ in range(7):
            await asyncio.sleep(1)
            pauses.append(limiter.back_off(now(), 3.0))
        sent_at = now() - 1  # a call under way with the others changes nothing
        pauses.append(limiter.back_off(sent_at, 40.0))
        assert share(limiter) == 1.0
        return pauses

    assert on_fast_clock(main) == [3, 3, 4, 8, 16, 30, 30, 40]


def test_nothing_passes_during_a_hold():
    async def main() -> None:
        limiter = RateLimiter(6000, 1e9)
        start = now()
        limiter.hold()

        async def release_later() -> None:
            await asyncio.sleep(7)
            limiter.release()

        assert min(await passes(limiter, [1] * 5, release_later())) >= start + 7

    on_fast_clock(main)

"""The limiter with providers that state their limits, or have other limits than configured."""

import asyncio

import pytest

from figa_core.llm.limiter import RateLimiter
from figa_core.llm.stated import StatedLimit, StatedLimits
from tests.figa_core.llm.test_limiter import passes
from tests.figa_core.llm.virtual import (
    Fixed,
    Provider,
    Refilled,
    Run,
    Sliding,
    drive,
    largest_window,
    now,
    on_fast_clock,
    share,
)


def driven(
    limiter: RateLimiter, provider: Provider, seconds: float, *, latency_s: float = 0.2, calls: int = 64
) -> tuple[Run, float]:
    """A drive on the fast clock, and its start."""

    async def main() -> tuple[Run, float]:
        start = now()
        run = await drive(limiter, provider, seconds, latency_s=latency_s, workers=calls)
        return run, start

    return on_fast_clock(main)


@pytest.mark.parametrize("latency_s", [0.02, 0.5])
def test_a_right_configuration_uses_what_the_provider_permits_without_a_429(latency_s: float):
    run, start = driven(RateLimiter(6000, 1e9), Sliding(6000), 130, latency_s=latency_s)
    assert run.refused == []
    assert run.per_minute(start, start + 130) >= 0.97 * 6000


@pytest.mark.parametrize("latency_s", [0.02, 0.2, 1.0])
def test_a_limit_configured_twice_too_high_is_corrected_by_what_the_provider_states(latency_s: float):
    run, start = driven(RateLimiter(12_000, 1e9), Sliding(6000), 240, latency_s=latency_s, calls=256)
    assert run.refused_share <= 0.02
    for minute in range(4):
        assert run.per_minute(start + 60 * minute, start + 60 * minute + 60) >= 0.9 * 6000


@pytest.mark.parametrize("provider", [Refilled(600), Fixed(600), Fixed(600, headers=False)])
def test_most_of_the_limit_is_used_however_a_provider_counts_its_minute(provider: Provider):
    run, start = driven(RateLimiter(1200, 1e9), provider, 300)
    assert run.refused_share <= 0.02
    assert run.per_minute(start, start + 300) >= 0.9 * 600


@pytest.mark.parametrize("configured", [600, 1200])
@pytest.mark.parametrize(
    "provider", [lambda: Fixed(10, 1), lambda: Refilled(10, 1), lambda: Sliding(10, seconds=1, burst=0)]
)
def test_a_limit_of_ten_a_second_starves_nothing(provider, configured: int):
    run, start = driven(RateLimiter(configured, 1e9), provider(), 300)
    assert run.refused_share <= 0.05
    assert run.per_minute(start, start + 300) >= 0.8 * 600


@pytest.mark.parametrize("provider", [Fixed(100_000, 86_400), Refilled(100_000, 86_400)])
def test_a_daily_quota_does_not_slow_calls_down(provider: Provider):
    run, start = driven(RateLimiter(600, 1e9), provider, 120)
    assert run.refused == []
    assert run.per_minute(start, start + 120) >= 0.97 * 600


def test_a_token_limit_configured_twice_too_high_does_not_slow_the_requests_below_it():
    async def main() -> float:
        start = now()
        limiter = RateLimiter(1200, 600_000)
        run = await drive(limiter, Sliding(1200, 300_000), 180, tokens=lambda: 500)
        assert run.refused_share <= 0.02
        assert largest_window(run.admitted, run.tokens, 60) <= 300_000
        return sum(run.tokens) / (now() - start) * 60

    assert on_fast_clock(main) >= 0.9 * 300_000


def test_a_429_about_tokens_leaves_the_rate_of_requests_alone():
    async def main() -> None:
        limiter = RateLimiter(600, 60_000)
        used_up = StatedLimits(StatedLimit(6000, 5000, 60), StatedLimit(600_000, 0, 60))
        sent_at = now()
        limiter.observe(used_up, sent_at)
        limiter.throttle(sent_at, 0.0, used_up)
        start = now()
        times = await passes(limiter, [1] * 21)
        assert 20 / (times[-1] - times[1]) == pytest.approx(10, rel=0.1)
        assert times[0] >= start + 1
        assert share(limiter) < 0.8

    on_fast_clock(main)


def test_nothing_left_holds_all_calls_back():
    async def main() -> None:
        limiter = RateLimiter(6000, 1e9)
        limiter.observe(StatedLimits(StatedLimit(6000, 3000, 60), StatedLimit()), now())
        await asyncio.sleep(30)
        limiter.observe(StatedLimits(StatedLimit(6000, 0, 30), StatedLimit()), now())
        start = now()
        assert min(await passes(limiter, [1] * 10)) >= start + 30

    on_fast_clock(main)

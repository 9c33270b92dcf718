"""Providers and an event loop on a clock that runs as fast as the test."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol

from figa_core.llm.limiter import RateLimiter
from figa_core.llm.stated import StatedLimit, StatedLimits
from figa_core.sandbox.teacher_rules import SlidingWindow, admit


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


def share(limiter: RateLimiter) -> float:
    """The share of the configured rates that is in force."""
    return min(limiter.request_pace.share(now()), limiter.token_pace.share(now()))


def largest_window(times: list[float], amounts: list[float], seconds: float) -> float:
    """The largest sum of amounts over any window of so many seconds; `times` in any order."""
    pairs = sorted(zip(times, amounts, strict=True))
    sums = [0.0, *accumulate(amount for _, amount in pairs)]
    largest, start = 0.0, 0
    for end, (time, _) in enumerate(pairs):
        while pairs[start][0] <= time - seconds:
            start += 1
        largest = max(largest, sums[end + 1] - sums[start])
    return largest


class Provider(Protocol):
    """A provider's way of counting: seconds to wait (0: admitted), and the limits that it states."""

    def answer(self, at: float, tokens: int) -> tuple[float, StatedLimits | None]: ...


class Sliding:
    """Like the teacher: counts the last minute, and the last second at twice the mean."""

    def __init__(self, per_minute: float, tokens: float = 1e9, *, seconds: float = 60, burst: float = 2):
        minutes = 60 / seconds
        self._windows = [SlidingWindow(per_minute * minutes, tokens * minutes, seconds)]
        if burst:
            self._windows.append(SlidingWindow(per_minute * minutes * burst, tokens * minutes * burst, 1.0))

    def answer(self, at: float, tokens: int) -> tuple[float, StatedLimits | None]:
        wait_s, first = admit(self._windows, at, tokens), self._windows[0]
        requests_left, tokens_left, reset_s = first.left(at)
        return wait_s, StatedLimits(
            StatedLimit(first.max_requests, requests_left, reset_s),
            StatedLimit(first.max_tokens, tokens_left, reset_s),
        )


class Refilled:
    """Like OpenAI: a bucket that holds `limit` requests and refills in `seconds`."""

    def __init__(self, limit: float, seconds: float = 60) -> None:
        self._limit, self._seconds = limit, seconds
        self._level, self._at = limit, -1.0

    def answer(self, at: float, tokens: int) -> tuple[float, StatedLimits | None]:
        if self._at >= 0:
            self._level = min(self._limit, self._level + (at - self._at) * self._limit / self._seconds)
        self._at = at
        wait = max(0.0, 1 - self._level) * self._seconds / self._limit
        self._level -= 1 if wait == 0 else 0
        reset = (self._limit - self._level) * self._seconds / self._limit
        return wait, StatedLimits(StatedLimit(self._limit, int(self._level), reset), StatedLimit())


class Fixed:
    """Counts from the start of each window of `seconds`."""

    def __init__(self, limit: int, seconds: float = 60, *, headers: bool = True) -> None:
        self._limit, self._seconds, self._headers = limit, seconds, headers
        self._window, self._count = -1, 0

    def answer(self, at: float, tokens: int) -> tuple[float, StatedLimits | None]:
        window = int(at // self._seconds)
        if window != self._window:
            self._window, self._count = window, 0
        reset = (window + 1) * self._seconds - at
        wait = reset if self._count >= self._limit else 0.0
        self._count += 1 if wait == 0 else 0
        stated = StatedLimits(StatedLimit(self._limit, self._limit - self._count, reset), StatedLimit())
        return wait, stated if self._headers else None


@dataclass
class Run:
    """The calls of one drive."""

    admitted: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def per_minute(self, start: float, end: float) -> float:
        """Mean rate of admitted requests between two loop times."""
        return sum(start <= at < end for at in self.admitted) * 60 / (end - start)

    @property
    def refused_share(self) -> float:
        return len(self.refused) / max(1, len(self.refused) + len(self.admitted))


async def drive(
    limiter: RateLimiter,
    provider: Provider,
    seconds: float,
    *,
    latency_s: float = 0.2,
    workers: int = 64,
    tokens: Callable[[], int] = lambda: 1,
    run: Run | None = None,
) -> Run:
    """Call like the reviser, with many workers, for so many seconds."""
    run = Run() if run is None else run
    end = now() + seconds

    async def work() -> None:
        while now() < end:
            amount = tokens()
            await limiter.acquire(amount)
            sent_at = now()
            wait, stated = provider.answer(sent_at, amount)
            (run.refused if wait else run.admitted).append(sent_at)
            if not wait:
                run.tokens.append(float(amount))
            await asyncio.sleep(latency_s)
            limiter.observe(stated, sent_at)
            if wait:
                limiter.refund(amount)
                limiter.throttle(sent_at, wait, stated)
            else:
                limiter.settle(amount, amount)

    await asyncio.gather(*(work() for _ in range(workers)))
    return run

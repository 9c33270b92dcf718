"""One limit for several runs: each run draws permits ahead from a common source and uses them up here.

The source (a Prefect server, in `tasks/shared_limits.py`) is too slow to be asked for every call. A run asks
it twice a second, in the background, and keeps what it gets in a `PermitStock`.

No 60 s have more calls than the limit L (per minute), however many runs there are:

- The source grants at most `capacity` + `per_second` · t permits in any t seconds, to all runs together.
- A stock releases each grant evenly over `SPREAD_S`, so that it does not become a burst. Each delayed part of
  the stream of grants keeps to its part of the bound, so their sum does too.
- A released permit is used within `KEEP_S`, or kept for the next call, or lost: a paused run collects permits
  for one call. So permits used in 60 s were released in 60 + `KEEP_S`, apart from those of one call for each
  run, at most its largest. A call that waits for its remaining permits holds no more than that.
- A grant counts as at most `LATE_S` old when it arrives: if it took longer, its expired parts are lost (a
  Prefect server on SQLite usually takes 0.05 s, and sometimes two seconds). Calls reach the provider with a
  jitter of up to `JITTER_S`.

So `capacity` + `per_second` · (60 + KEEP_S + LATE_S + JITTER_S) + runs · largest ≤ L, which `shared_rate`
solves: for 6 000 requests a minute and four runs, 96.6 % of L, with a capacity of one second's worth.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

CAPACITY_S = 1.0
SPREAD_S = 4.0
KEEP_S = 0.25
LATE_S = 0.5
JITTER_S = 0.25
DRAW_EVERY_S = 0.5

_IDLE_S = 2.0
_POLL_S = 0.02
_EAGERNESS = 4.0  # how many times its last use a run asks for if it had to wait
_AHEAD = 1.25
_ROUNDING = 1e-9  # of sums of parts of permits


class Drawn(NamedTuple):
    """Permits that a source granted, and the loop time at which it was asked for them."""

    permits: float
    asked_at: float


class PermitSource(Protocol):
    """Grants the permits of one limit, for one request or token each, to all runs."""

    async def draw(self, most: float) -> Drawn | None:
        """Take what is free, at most `most` permits, without waiting; None if another run was faster.

        Raises:
            FigaError: the limit does not exist, or the source cannot be asked.
        """
        ...


class SharedRate(NamedTuple):
    """The most permits that a source holds, and how many flow into it."""

    capacity: float
    per_second: float


def shared_rate(per_minute: float, *, largest: float, runs: int) -> SharedRate:
    """The rate of a source that keeps `per_minute`; `largest` is the largest call's permits.

    Raises:
        ValueError: the limit is too low for so many runs with calls of that size.
    """
    left = per_minute - runs * largest
    if left <= 0:
        raise ValueError(
            f"{runs} runs with calls of up to {largest:g} cannot share {per_minute:g} a minute: one call of "
            "each run reaches it"
        )
    capacity = left / 60 * CAPACITY_S
    return SharedRate(capacity, (left - capacity) / (60 + KEEP_S + LATE_S + JITTER_S))


class _Grant(NamedTuple):
    """Permits that are released evenly over `SPREAD_S` from `start` on."""

    start: float
    permits: float

    def released(self, now: float) -> float:
        return self.permits * min(1.0, max(0.0, (now - self.start) / SPREAD_S))


class PermitStock:
    """The permits that this run drew of one limit. For one event loop, and one taker at a time."""

    def __init__(self, source: PermitSource, *, random_share: Callable[[], float] = random.random) -> None:
        """`random_share` in [0, 1) varies the time between draws, so that no run is always second."""
        self._source, self._random_share = source, random_share
        self._grants: list[_Grant] = []
        self._gone = 0.0  # of what these grants released: used, lost, or kept
        self._kept = 0.0  # for the next call
        self._needed = self._largest = 0.0
        self._used = 0.0  # since the last draw
        self._waited = False
        self._taken_at = 0.0
        self._drawing: asyncio.Task[None] | None = None

    async def take(self, permits: float) -> None:
        """Use up so many permits; wait until they are there.

        Raises:
            FigaError: the source cannot be drawn from.
        """
        self._needed, self._largest = permits, max(self._largest, permits)
        while True:
            self._taken_at = now = _now()
            self._pay(now)
            if self._needed <= _ROUNDING:
                return
            self._waited = True
            self._keep_drawing()
            await asyncio.sleep(_POLL_S)

    async def aclose(self) -> None:
        """Stop drawing. Unused permits are lost, which only lowers the rate."""
        if self._drawing is not None:
            self._drawing.cancel()
            await asyncio.gather(self._drawing, return_exceptions=True)

    def _pay(self, now: float) -> None:
        """Pay for the call: first with kept permits, then with released ones."""
        self._keep_expired(now)
        kept = min(self._needed, self._kept)
        fresh = min(self._needed - kept, max(0.0, self._released(now) - self._gone))
        self._kept, self._gone = self._kept - kept, self._gone + fresh
        self._needed, self._used = self._needed - kept - fresh, self._used + kept + fresh

    def _keep_expired(self, now: float) -> None:
        """Keep as many of the expired permits as one call needs, and forget grants that have ended."""
        expired = now - KEEP_S
        lost = max(0.0, self._released(expired) - self._gone)
        self._kept = min(self._largest, self._kept + lost)
        ended = sum(grant.permits for grant in self._grants if grant.start + SPREAD_S <= expired)
        self._grants = [grant for grant in self._grants if grant.start + SPREAD_S > expired]
        self._gone = self._gone + lost - ended

    def _released(self, now: float) -> float:
        return sum(grant.released(now) for grant in self._grants)

    def _keep_drawing(self) -> None:
        """Start a task that draws, if none runs; raise the error that ended the last one."""
        task = self._drawing
        if task is not None and task.done() and not task.cancelled() and (error := task.exception()):
            raise error
        if task is None or task.done():
            self._drawing = asyncio.create_task(self._draw_while_used(), name="permits")

    async def _draw_while_used(self) -> None:
        while (began := _now()) - self._taken_at < _IDLE_S:
            wanted = self._wanted(began)
            self._used, self._waited = 0.0, False
            if wanted > 0 and (drawn := await self._source.draw(wanted)) is not None:
                grant = _Grant(min(_now(), drawn.asked_at + LATE_S), drawn.permits)
                self._gone += grant.released(_now() - KEEP_S)
                self._grants.append(grant)
            pause = DRAW_EVERY_S * (0.8 + 0.4 * self._random_share())
            await asyncio.sleep(max(0.0, began + pause - _now()))

    def _wanted(self, now: float) -> float:
        """How many to draw: many more than were used lately if a call had to wait, else about as many."""
        if self._waited:
            return self._needed + _EAGERNESS * self._used
        self._keep_expired(now)
        stocked = sum(grant.permits for grant in self._grants) - self._gone
        return _AHEAD * self._used / DRAW_EVERY_S * SPREAD_S / 2 - stocked  # half of it is released


@dataclass(frozen=True, slots=True)
class SharedPermits:
    """The stocks of one provider's two limits."""

    requests: PermitStock
    tokens: PermitStock

    async def aclose(self) -> None:
        """Stop drawing from both."""
        await self.requests.aclose()
        await self.tokens.aclose()


def _now() -> float:
    return asyncio.get_running_loop().time()

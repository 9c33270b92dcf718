"""The share of a configured rate that is in force: 429s and the provider's stated limits lower it from 1.

- **A 429** multiplies the share by `DECREASE`; it recovers additively.
- **A stated limit** below the configured one is a ceiling. The headers do not state its window, but a reset
  is never longer than it. So the longest reset seen approaches the window's length from below, whether the
  provider counts in fixed windows, sliding windows, or buckets that refill. Until then the stated rate is
  overestimated, never underestimated: ten a second are never mistaken for ten a minute. A limit with a window
  beyond `LONGEST_WINDOW_S`, such as a day's quota, is not a rate.
- A 429 does not push the share below the ceiling, unless another follows within a minute: then somebody else
  uses the same key. Recovery is quick up to the ceiling and slow above it; there is none above it while the
  provider has hardly anything left.
- **Nothing left** holds all calls back; for how long depends on how the provider counts (`Pace.hold_s`).

Pure except for its state; times are seconds of any monotonic clock.
"""

import math

from figa_core.llm.stated import StatedLimit

DECREASE = 0.7
RECOVERY_PER_S = 1 / 120
PROBE_PER_S = 1 / 3600
MIN_SHARE = 0.02
LONGEST_WINDOW_S = 90.0
HOLD_MAX_S = 30.0

_AGAIN_S = 60.0
_AT_CEILING = 1.05
_TIGHT = 0.05  # of the stated limit
_REFILL = 0.02  # of the stated limit: what to wait for when nothing is left
_UNKNOWN_HOLD_S = 1.0


class Pace:
    """The share of one configured rate, of requests or of tokens."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._share, self._since = 1.0, -math.inf
        self._window_s = 0.0
        self._limit: float | None = None
        self._tight = False
        self._cut_at_ceiling = -math.inf
        self._held_until = -math.inf
        self._holds = 0

    def share(self, now: float) -> float:
        """The share in force."""
        if self._share >= 1.0:
            return 1.0
        ceiling = self._ceiling()
        passed = max(0.0, now - self._since)
        recovered = self._share + RECOVERY_PER_S * passed
        if recovered <= ceiling:
            return recovered
        if self._tight:
            return max(self._share, ceiling)
        beyond = passed - max(0.0, ceiling - self._share) / RECOVERY_PER_S
        return min(1.0, max(self._share, ceiling) + PROBE_PER_S * beyond)

    def throttle(self, now: float, until: float) -> None:
        """A 429 came at `now`, and nothing will be sent before `until`, when recovery begins."""
        share, floor = self.share(now), self._floor()
        if share > floor * _AT_CEILING:
            share = max(share * DECREASE, floor)
        else:
            again = now - self._cut_at_ceiling < _AGAIN_S
            share = share * DECREASE if again else min(share, floor)
            self._cut_at_ceiling = now
        self._share, self._since = max(MIN_SHARE, share), max(now, until)

    def note(self, stated: StatedLimit, now: float) -> None:
        """Obey the limit that an answer states."""
        before, share = self._ceiling(), self.share(now)
        if stated.limit is not None:
            self._limit = stated.limit
        if stated.reset_s is not None:
            self._window_s = max(self._window_s, stated.reset_s)
        self._tight = nearly_used_up(stated)
        if self._tight or self._ceiling() < before:
            share = min(share, self._ceiling())
        self._share, self._since = share, max(self._since, now)  # a later start of the recovery stays

    def hold_s(self, stated: StatedLimit, needed: float, *, sent_at: float, now: float) -> float:
        """Seconds to hold all calls back if the answer to a call sent at `sent_at` leaves less than `needed`.

        A reset shorter than the window counts down a fixed window: nothing passes before its end. Otherwise
        (a sliding window, a bucket) places become free one by one, and a small part of the reset is enough.
        Calls sent before a hold ends prove nothing new. Each further hold in a row is half as long, because
        the provider has admitted calls although it stated that nothing was left.
        """
        if stated.remaining is None or sent_at < self._held_until:
            return 0.0
        needed = min(needed, stated.limit or needed)
        if stated.remaining >= needed:
            self._holds = 0
            return 0.0
        hold = min(HOLD_MAX_S, self._wait_s(stated, needed)) / 2.0 ** min(self._holds, 50)
        self._holds += 1
        self._held_until = now + hold
        return hold

    def _wait_s(self, stated: StatedLimit, needed: float) -> float:
        if stated.reset_s is None:
            return _UNKNOWN_HOLD_S
        if stated.reset_s < 0.9 * self._window_s:
            return stated.reset_s
        part = needed / stated.limit if stated.limit else 0.0
        return stated.reset_s * max(_REFILL, part)

    def _ceiling(self) -> float:
        """The stated rate as a share; 1 if it is unknown or does not limit."""
        if self._limit is None or not 0 < self._window_s <= LONGEST_WINDOW_S:
            return 1.0
        return min(1.0, self._limit * 60 / self._window_s / self._per_minute)

    def _floor(self) -> float:
        """The lowest share after one 429; 0 if no rate below the configured one was stated.

        Without a reset the window is assumed to be a minute: a mistake costs nothing here.
        """
        floor = self._ceiling()
        if self._limit is not None and self._window_s == 0:
            floor = self._limit / self._per_minute
        return floor if floor < 1.0 else 0.0


def nearly_used_up(stated: StatedLimit) -> bool:
    """Whether hardly anything is left of a limit."""
    return stated.remaining is not None and stated.remaining < _TIGHT * (stated.limit or 0.0) + 1.0

"""What a provider's response headers state about its rate limits, and how long to wait. Pure.

The names of the limits are OpenAI's (`x-ratelimit-limit-requests`, `-remaining-`, `-reset-`, and the same for
tokens), which compatible servers copy. The window of a limit is not stated: usually a minute, but sometimes a
second or a day. The limiter infers it from the resets.
"""

import email.utils
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

WAIT_MAX_S = 86_400.0
"""Longer waits than a day are mistakes, and are ignored."""

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d*)?)s)?(?:(\d+(?:\.\d*)?)ms)?")
_WAIT_IN_WORDS = re.compile(
    r"\b(?:try again|retry|wait)(?: again)?(?: in| after| for)?:? (?:about |at least )?"
    r"(?:(\d+(?:\.\d+)?) ?(seconds?|secs?|minutes?|mins?)\b"
    r"|((?:\d+h)?(?:\d+m(?!s))?(?:\d+(?:\.\d+)?m?s)?)(?!\w))",
    re.IGNORECASE,
)
_UNIT_S = (86_400.0, 3600.0, 60.0, 1.0, 0.001)


@dataclass(frozen=True, slots=True)
class StatedLimit:
    """One limit, of requests or of tokens; None for what is not stated, or not usable."""

    limit: float | None = None  # what a window permits
    remaining: float | None = None  # of the current window
    reset_s: float | None = None  # seconds until the whole limit is available again


@dataclass(frozen=True, slots=True)
class StatedLimits:
    """The limits in one response."""

    requests: StatedLimit
    tokens: StatedLimit


def read_limits(headers: Mapping[str, str]) -> StatedLimits | None:
    """The limits in the headers of one response, None if there are none."""
    requests, tokens = _read(headers, "requests"), _read(headers, "tokens")
    if requests == tokens == StatedLimit():
        return None
    return StatedLimits(requests, tokens)


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or an HTTP date), or None.

    `now` is in seconds since the epoch.
    """
    for name, per_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        if (value := headers.get(name)) is None:
            continue
        try:
            wait_s = float(value) / per_second
        except ValueError:
            wait_s = seconds(value)  # no provider should write "30s" here, and some do
            wait_s = _until(value, now) if wait_s is None else wait_s
        if wait_s is not None and 0 <= wait_s <= WAIT_MAX_S:
            return wait_s
    return None


def wait_in_words(text: str) -> float | None:
    """The seconds in a message such as "Please try again in 7m12s" or "retry after 20 seconds", or None."""
    found = _WAIT_IN_WORDS.search(text)
    if found is None:
        return None
    number, unit, duration = found.groups()
    wait_s = seconds(duration) if number is None else float(number) * (60 if unit[0] in "mM" else 1)
    return wait_s if wait_s is not None and wait_s <= WAIT_MAX_S else None


def seconds(text: str) -> float | None:
    """A duration such as "1s", "6m0s", "20ms", "1h2m3.5s" or plain seconds; None for anything else."""
    text = text.strip()
    if (plain := _number(text)) is not None:
        return plain
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return None
    return sum(float(part) * unit for part, unit in zip(match.groups(), _UNIT_S, strict=True) if part)


def _read(headers: Mapping[str, str], kind: str) -> StatedLimit:
    limit, remaining, reset = (
        headers.get(f"x-ratelimit-{field}-{kind}", "") for field in ("limit", "remaining", "reset")
    )
    # A limit of 0 means no limit, or a key that is used up.
    return StatedLimit(_number(limit) or None, _number(remaining), seconds(reset))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until(date: str, now: float) -> float | None:
    try:
        parsed = email.utils.parsedate_tz(date)
        return None if parsed is None else email.utils.mktime_tz(parsed) - now
    except (ValueError, OverflowError, TypeError, IndexError):
        return None

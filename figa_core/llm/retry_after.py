"""How long a provider asks to wait. Pure."""

import email.utils
from collections.abc import Mapping

LONGEST_S = 86_400.0
"""Longer waits than a day are mistakes, and count as none."""


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that `retry-after-ms` or `retry-after` (seconds or an HTTP date) ask for, or None.

    `now` is in seconds since the epoch.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _number(value, unit)
        if seconds is None:
            seconds = _until(value, now)
        if seconds is not None and 0 <= seconds <= LONGEST_S:
            return seconds
    return None


def _number(value: str, unit: float) -> float | None:
    try:
        return float(value) / unit
    except ValueError:
        return None


def _until(date: str, now: float) -> float | None:
    try:
        parsed = email.utils.parsedate_tz(date)
        return None if parsed is None else email.utils.mktime_tz(parsed) - now
    except (ValueError, OverflowError, TypeError, IndexError):
        return None

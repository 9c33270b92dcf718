"""Durations in words."""

_HOUR, _DAY, _YEAR = 60.0, 60.0 * 24, 60.0 * 24 * 365
_UNITS = (
    ("s", 1 / 60, 2.0),
    ("min", 1.0, 2 * _HOUR),
    ("hours", _HOUR, 2 * _DAY),
    ("days", _DAY, 2 * _YEAR),
    ("years", _YEAR, 100 * _YEAR),
)
"""Name, length in minutes, and the number of minutes below which to use it."""


def duration(minutes: float) -> str:
    """Such as "40 s", "15 min", "3 hours" or "12 days"; at most "more than 100 years"."""
    for unit, length, below in _UNITS:
        if minutes < below:
            return f"{minutes / length:,.0f} {unit}"
    return "more than 100 years"

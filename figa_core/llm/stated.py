"""What a provider states about its rate limits in the headers of an answer. Pure: headers in, values out.

The names are OpenAI's (`x-ratelimit-limit-requests`, `-remaining-`, `-reset-`, and the same for tokens),
which compatible servers copy. The window that a limit is meant for is not stated: mostly a minute, but
seconds and days occur. The limiter infers it from the resets.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d*)?)s)?(?:(\d+(?:\.\d*)?)ms)?")
_UNIT_S = (86_400.0, 3600.0, 60.0, 1.0, 0.001)


@dataclass(frozen=True, slots=True)
class StatedLimit:
    """One limit, of requests or of tokens; None where nothing usable was stated.

    Attributes:
        limit: how many a window permits.
        remaining: how many it still permits.
        reset_s: seconds until all of them are permitted again.
    """

    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


@dataclass(frozen=True, slots=True)
class StatedLimits:
    """What one answer states."""

    requests: StatedLimit
    tokens: StatedLimit


def read_limits(headers: Mapping[str, str]) -> StatedLimits | None:
    """The limits in the headers of one answer, None where there are none."""
    requests, tokens = _read(headers, "requests"), _read(headers, "tokens")
    if requests == tokens == StatedLimit():
        return None
    return StatedLimits(requests, tokens)


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
        headers.get(f"x-ratelimit-{field}-{kind}") for field in ("limit", "remaining", "reset")
    )
    return StatedLimit(
        None if limit is None else _number(limit) or None,  # a limit of 0 is none, or the key's end
        None if remaining is None else _number(remaining),
        None if reset is None else seconds(reset),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None

"""Whether the clock here agrees with that of the Prefect server."""

import socket
import time
from email.utils import parsedate_to_datetime

from prefect.client.orchestration import get_client

from figa_core.errors import ConfigError

CLOCK_S = 30.0
"""Clocks may differ by this much, in seconds.

The server takes a run for dead 90 s after the time that its last heartbeat bears, which is that of the run's
machine, and heartbeats come every 30 s: a run whose clock is 60 s behind looks dead between two of them, and
one an hour behind looks dead at once. The bound is half of that. A clock that is ahead makes a dead run look
alive for as long, and puts states in the wrong order.
"""


def difference_s(stated: str | None, asked_at: float, answered_at: float) -> float:
    """By how much a server's clock is ahead of the one here at least, in seconds; negative if it is behind.

    `stated` is the Date header (in whole seconds) of an answer to a question of that time, in seconds since
    the epoch. The time that the answer took counts for nothing, and neither does a header that is missing.
    """
    try:
        there = parsedate_to_datetime(stated or "").timestamp()
    except ValueError:
        return 0.0
    if there > answered_at:
        return there - answered_at
    return min(0.0, there + 1.0 - asked_at)


def clock_text(ahead_s: float) -> str:
    """What is wrong with a clock that is ahead of the one here by so many seconds, and what to do."""
    return (
        f"is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the one here. Set both by NTP: "
        "runs on a machine whose clock is wrong are taken for dead, and states come in the wrong order."
    )


def check_clock() -> None:
    """Raises ConfigError if the Prefect server's clock differs from the one here by more than `CLOCK_S`."""
    with get_client(sync_client=True) as client:
        asked_at = time.time()
        response = client.request("GET", "/health")
        ahead_s = difference_s(response.headers.get("date"), asked_at, time.time())
        if abs(ahead_s) > CLOCK_S:
            raise ConfigError(
                f"the clock of the Prefect server at {client.api_url} {clock_text(ahead_s)} Here is "
                f"{socket.gethostname()}."
            )

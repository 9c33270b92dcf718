"""One server of a pool, and what is known of it."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from figa_core.inference.server.client import Client
from figa_core.inference.server.in_flight import InFlight
from figa_core.inference.server.jobs import Job


class State(Enum):
    """What a server is given; see `pool`."""

    UP = auto()
    TRIAL = auto()
    AWAY = auto()
    OUT = auto()


@dataclass(frozen=True, slots=True)
class KnownGood:
    """A request that a server has answered in `took_s` seconds."""

    body: bytes
    rows: Sequence[Any]
    took_s: float


class Server:
    """Used in the pool's thread only."""

    def __init__(self, client: Client, most_in_flight: int) -> None:
        self.client = client
        self.state = State.UP
        self.own: deque[Job] = deque()  # wait for this server, because it has their prompt
        self.in_flight = 0
        self.tries = 0  # since it has last answered a job
        self.limit = InFlight(most_in_flight)
        self.answered_at = -math.inf  # on the monotonic clock
        self.known_good: KnownGood | None = None
        self.trouble = ""
        self.rests_until = 0.0
        self.checking = asyncio.Lock()

    @property
    def has_room(self) -> bool:
        if time.monotonic() < self.rests_until:
            return False
        if self.state is State.TRIAL:
            return self.in_flight == 0
        return self.state is State.UP and self.in_flight < self.limit.limit

    @property
    def load(self) -> float:
        return self.in_flight / self.limit.limit

    def has_answered(self) -> None:
        """Remember that it has answered a request just now."""
        self.answered_at = time.monotonic()

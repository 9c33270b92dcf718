"""How many requests a server gets at once: as many as keep it busy, and few that only wait there.

A request that waits in one server's queue could be at work on another, and is lost with the server. So the
server's own metric, `vllm:num_requests_waiting`, decides: an empty queue allows more, a long one fewer.
"""

FIRST = 32
WAITING_MOST = 16
"""Enough for a server to find work in the time between two looks at its queue."""


class InFlight:
    """The limit of one server; not for several threads."""

    def __init__(self, most: int) -> None:
        """`most` is never exceeded. Without a metric the limit stays where it is."""
        self._most = most
        self.limit = min(FIRST, most)

    def observed(self, *, waiting: int | None, in_flight: int) -> None:
        """Adapt to the requests that wait in the server's queue; None: it does not tell, use the most."""
        if waiting is None:
            self.limit = self._most
        elif waiting == 0 and in_flight >= self.limit:
            self.limit = min(2 * self.limit, self._most)
        elif waiting > WAITING_MOST:
            self.limit = max(1, min(self.limit, in_flight - (waiting - WAITING_MOST)))

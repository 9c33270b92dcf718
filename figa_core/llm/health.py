"""When to stop asking an endpoint: it is down, it answers nonsense, or it asks to wait for too long.

One bad moment breaks many calls at once. A failure therefore counts only if its call was sent after the
failure counted last, so that sixty-four connections broken together are one failure in a row, not
sixty-four. Only as long as nobody has ever answered does every failed connection count: then the endpoint
is most likely not there. Rows that are refused are `doubts`' business.

Pure but for its own counters; times are any monotonic clock's, in seconds.
"""

import math
from dataclasses import dataclass

from figa_core.errors import LLMError
from figa_core.llm.calls import CallOutcome
from figa_core.llm.reply import Reply

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 8.0

_GOES_ON = "The rows not answered yet stay pending: run again to go on with them."
_USELESS = {
    CallOutcome.TIMEOUT,
    CallOutcome.CONNECTION_LOST,
    CallOutcome.SERVER_ERROR,
    CallOutcome.MALFORMED,
    CallOutcome.EMPTY_CHOICES,
    CallOutcome.WRONG_ADDRESS,
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How much may go wrong in a row before the run ends.

    Attributes:
        connection_failures: calls that reached nobody.
        useless_calls: calls without a usable answer: timeouts, 5xx, broken or senseless bodies.
        rate_limited_s: seconds in which every call was told to wait, the announced wait included.
    """

    connection_failures: int = 10
    useless_calls: int = 50
    rate_limited_s: float = 900.0


class EndpointHealth:
    """Counts what went wrong in a row, and raises when that is enough."""

    def __init__(self, url: str, patience: Patience, section: str) -> None:
        """`section` of the configuration is the one that messages name."""
        self._url, self._section = url, section
        self._patience = patience
        self._reached_ever = False
        self._served_sent_at = -math.inf
        self._connections = 0
        self._useless = 0
        self._counted_at = -math.inf
        self._limited_since: float | None = None

    @property
    def served(self) -> bool:
        """Whether a call has ever been answered with a completion."""
        return self._served_sent_at > -math.inf

    def served_since(self, sent_at: float) -> bool:
        """Whether a call that was sent after `sent_at` has been answered."""
        return self._served_sent_at > sent_at

    def note(self, reply: Reply, *, sent_at: float, now: float, pause_s: float = 0.0) -> float:
        """Take in one reply; return for how many seconds all calls should pause.

        `pause_s` is the wait that a 429, or a 5xx with a Retry-After, asked for.

        Raises:
            LLMError: the patience is at an end; the message names the URL and the last words.
        """
        if reply.outcome is CallOutcome.RATE_LIMITED or pause_s > 0:
            self._note_wait(reply, now, pause_s)
            return 0.0
        self._limited_since = None
        if reply.outcome is CallOutcome.CONNECTION_FAILED:
            return self._note_connection_failure(reply, sent_at, now)
        self._connections, self._reached_ever = 0, True
        if reply.outcome in _USELESS:
            self._note_useless(reply, sent_at, now)
        elif is_served(reply):
            self._useless, self._served_sent_at = 0, max(self._served_sent_at, sent_at)
        return 0.0

    def _note_connection_failure(self, reply: Reply, sent_at: float, now: float) -> float:
        if self._reached_ever and sent_at <= self._counted_at:
            return 0.0
        self._connections += 1
        self._counted_at = now
        if self._connections >= self._patience.connection_failures:
            raise LLMError(
                f"{self._url}: nobody answers ({self._connections} failed connections in a row, the last: "
                f"{reply.message}). Check {self._section}.base_url, and that the server runs. {_GOES_ON}"
            )
        return min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** (self._connections - 1))

    def _note_useless(self, reply: Reply, sent_at: float, now: float) -> None:
        if sent_at <= self._counted_at:
            return
        self._useless += 1
        self._counted_at = now
        if self._useless >= self._patience.useless_calls:
            raise LLMError(
                f"{self._url}: no usable answer in {self._useless} calls in a row, the last one: "
                f"{reply.outcome}, {reply.message}. Check {self._section}.base_url and the server's log. "
                f"{_GOES_ON}"
            )

    def _note_wait(self, reply: Reply, now: float, pause_s: float) -> None:
        if self._limited_since is None:
            self._limited_since = now
        if now + pause_s - self._limited_since <= self._patience.rate_limited_s:
            return
        advice = "Wait until the server is back."
        if reply.outcome is CallOutcome.RATE_LIMITED:
            advice = (
                f"Lower {self._section}.requests_per_minute and {self._section}.tokens_per_minute, or wait "
                "until the provider's limit is reset."
            )
        raise LLMError(
            f"{self._url}: told every call to wait, and now for {pause_s:.0f} s more: {reply.message}. "
            f"{advice} {_GOES_ON}"
        )


def is_served(reply: Reply) -> bool:
    """Whether a completion came back, whatever it is worth."""
    if reply.outcome is CallOutcome.REFUSED:
        return reply.status is None
    return reply.outcome in (CallOutcome.ANSWERED, CallOutcome.CUT_BY_LENGTH)

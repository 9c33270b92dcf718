"""When to give up on an endpoint: it is down, its answers are unusable, or it asks to wait for too long.

One bad moment breaks many calls at once. So a failure counts only if its call was sent after the last counted
failure: sixty-four connections that break together are one failure. Until the endpoint has answered for the
first time, every failed connection counts, because it probably does not exist. For refused rows see `doubts`.

Pure except for its counters; times are seconds of any monotonic clock.
"""

import math
from dataclasses import dataclass

from figa_core.errors import LLMError
from figa_core.llm.calls import CallOutcome
from figa_core.llm.reply import Reply

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 8.0

_PENDING = "The rows not answered yet stay pending: run again to continue with them."
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
    """How much may go wrong in a row before the run ends."""

    connection_failures: int = 10
    useless_calls: int = 50  # without a usable answer: timeouts, 5xx, broken or malformed bodies
    rate_limited_s: float = 900.0  # in which every call is told to wait, the announced wait included


class EndpointHealth:
    """Counts failures in a row, and raises when there are too many."""

    def __init__(self, url: str, patience: Patience, section: str) -> None:
        """Messages name `url` and `section`, of the configuration."""
        self._url, self._section, self._patience = url, section, patience
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
        """Whether a call sent after `sent_at` has been answered."""
        return self._served_sent_at > sent_at

    def note(self, reply: Reply, *, sent_at: float, now: float, pause_s: float = 0.0) -> float:
        """Count one reply; return for how many seconds all calls should pause.

        `pause_s` is the wait that a 429, or a 5xx with a Retry-After, asked for.

        Raises:
            LLMError: too much went wrong; the message quotes the last reply.
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
                f"{reply.message}). Check {self._section}.base_url, and that the server runs. {_PENDING}"
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
                f"{_PENDING}"
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
            f"{advice} {_PENDING}"
        )


def is_served(reply: Reply) -> bool:
    """Whether a completion came back, fit or not."""
    if reply.outcome is CallOutcome.REFUSED:
        return reply.status is None
    return reply.outcome in (CallOutcome.ANSWERED, CallOutcome.CUT_BY_LENGTH)

"""Requests and tokens per minute, respected from the first second, on `aiolimiter`'s leaky buckets.

Over any 60 seconds no more than the permitted number passes. Three things make that exact:

- A bucket starts full and refills while it is being emptied, so that one refilled at the permitted rate
  lets more than a minute's worth through in its first minute. Ours holds a quarter of a second's worth and is
  refilled at 60/61 of the permitted rate: the burst fits, and ¾ s of jitter on the way to the server too.
- A request larger than the bucket pays in instalments before it passes. It was paid for in part by the
  time before the window, so the token price is raised by T / (T − largest): the largest request and what
  is paid inside a window then fit into T together.
- One request at a time stands at the buckets, in order of arrival; `aiolimiter` by itself lets small ones
  overtake for as long as there are any. The request slot is taken last.

Tokens are reserved by estimate. `settle` corrects: what a call used beyond its estimate is a debt that the
next reservation pays, what it left is a credit.

After a 429 everybody waits as long as the provider says, and the rate falls: multiplicative decrease, once
for all the calls that were under way together, and additive recovery in the time after.
"""

import asyncio
import math
from collections.abc import Iterable

from aiolimiter import AsyncLimiter

SAFETY = 60 / 61
BURST_S = 0.25
DECREASE = 0.7
RECOVERY_PER_S = 1 / 120
MIN_SHARE = 0.02
MAX_BACKOFF_S = 30.0

_CHARS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
_ANSWER_GROWTH = 1.25
_ANSWER_EXTRA = 16


def estimate_tokens(texts: Iterable[str], draft: str, max_tokens: int) -> int:
    """Tokens a revision call will use, before any tokenizer: prompt and answer.

    Four characters a token, the usual rule for English, four tokens of markup a message, and an answer
    a quarter longer than the draft, at most `max_tokens`. Other scripts take more; `RateLimiter.settle`
    sets that right after each answer.
    """
    prompt = sum(math.ceil(len(text) / _CHARS_PER_TOKEN) + _TOKENS_PER_MESSAGE for text in texts)
    answer = math.ceil(_ANSWER_GROWTH * len(draft) / _CHARS_PER_TOKEN) + _ANSWER_EXTRA
    return prompt + min(max_tokens, answer)


class _Bucket:
    """An `AsyncLimiter` that also takes amounts larger than it holds."""

    def __init__(self, per_minute: float) -> None:
        per_second = per_minute / 60 * SAFETY
        self.capacity = max(1.0, per_second * BURST_S)
        self._limiter = AsyncLimiter(self.capacity, self.capacity / per_second)

    async def take(self, amount: float) -> None:
        while amount > 0:
            instalment = min(amount, self.capacity)
            await self._limiter.acquire(instalment)
            amount -= instalment


class RateLimiter:
    """One provider's limits, for all requests of one event loop. Times are the loop's, in seconds."""

    def __init__(self, requests_per_minute: float, tokens_per_minute: float) -> None:
        self._requests = _Bucket(requests_per_minute)
        self._tokens = _Bucket(tokens_per_minute)
        self._tokens_per_minute = tokens_per_minute
        self._turn = asyncio.Lock()
        self._largest = 0.0
        self._debt = 0.0  # negative: a credit
        self._share = 1.0
        self._share_since = -math.inf
        self._cut_at = -math.inf
        self._cuts_in_a_row = 0
        self._paused_until = -math.inf

    async def acquire(self, tokens: int) -> None:
        """Wait until one request of so many tokens (an estimate) may be sent."""
        async with self._turn:
            await self._tokens.take(self._token_price(tokens))
            while True:
                await self._sleep_out_pause()
                await self._requests.take(1 / self.share())
                if self._paused_until <= _now():
                    return

    def settle(self, reserved: int, used: int | None) -> None:
        """Correct a reservation by the provider's `usage`; None leaves the estimate standing."""
        self._cuts_in_a_row = 0
        if used is not None:
            credit_max = max(self._tokens.capacity, self._largest)
            self._debt = max(self._debt + used - reserved, -credit_max)

    def refund(self, reserved: int) -> None:
        """Give back a reservation that used nothing: nobody was reached."""
        self._debt = max(self._debt - reserved, -max(self._tokens.capacity, self._largest))

    def throttle(self, sent_at: float, retry_after_s: float | None) -> float:
        """A call sent at `sent_at` (loop time) got a 429: slow down, and hold all calls back.

        Without a Retry-After the pause is 1 s and doubles with every 429 in a row. Returns its seconds.
        """
        now = _now()
        if sent_at >= self._cut_at:  # the others of the same moment learnt nothing new
            self._share = max(MIN_SHARE, self.share() * DECREASE)
            self._cut_at = now
            self._cuts_in_a_row += 1
        doubled = min(MAX_BACKOFF_S, 2.0 ** (self._cuts_in_a_row - 1))
        pause = doubled if retry_after_s is None else max(0.0, retry_after_s)
        self.pause(pause)
        self._share_since = max(self._share_since, self._paused_until)
        return pause

    def pause(self, seconds: float) -> None:
        """Hold all calls back for so long, or as long as they are held back already."""
        self._paused_until = max(self._paused_until, _now() + seconds)

    def share(self) -> float:
        """The part of the configured rate in force: 1, or less for a while after a 429."""
        if self._share >= 1.0:
            return 1.0
        return min(1.0, self._share + RECOVERY_PER_S * max(0.0, _now() - self._share_since))

    def _token_price(self, tokens: int) -> float:
        permitted = self._tokens_per_minute
        self._largest = max(self._largest, min(tokens, permitted / 2))
        due = tokens + self._debt
        self._debt = min(due, 0.0)
        return max(due, 0.0) * permitted / (permitted - self._largest) / self.share()

    async def _sleep_out_pause(self) -> None:
        while (left := self._paused_until - _now()) > 0:
            await asyncio.sleep(left)


def _now() -> float:
    return asyncio.get_running_loop().time()

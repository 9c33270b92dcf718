"""Requests and tokens per minute, respected from the first second, on `aiolimiter`'s leaky buckets.

Over any 60 seconds no more than the permitted number passes. Three things make that exact:

- A bucket starts full and refills while it is being emptied, so that one refilled at the permitted rate
  lets more than a minute's worth through in its first minute. Ours holds a quarter of a second's worth and is
  refilled at 60/61 of the permitted rate: the burst fits, and ¾ s of jitter on the way to the server too.
- A request larger than the bucket pays in instalments before it passes. It was paid for in part by the
  time before the window, so the token price is raised by T / (T − largest): the largest request and what
  is paid inside a window then fit into T together.
- One request at a time waits at the buckets, in order of arrival; `aiolimiter` by itself lets small ones
  overtake for as long as there are any. The request slot is taken last.

Tokens are reserved by estimate. `settle` corrects: what a call used beyond its estimate is a debt that the
next reservation pays, what it left is a credit.

After a 429 everybody waits as long as the provider says, and the rate falls, once for all the calls that
were under way together. What the headers of every answer state is obeyed before it comes to that (`observe`);
`pace` says how both change the rate.

Several runs that share one provider share its limit too: with `shared` every call also takes permits that
this run drew from it (`permits`).
"""

import asyncio
import math
from collections.abc import Iterable

from aiolimiter import AsyncLimiter

from figa_core.llm.pace import Pace, nearly_used_up
from figa_core.llm.permits import SharedPermits
from figa_core.llm.stated import StatedLimits

SAFETY = 60 / 61
BURST_S = 0.25
MAX_BACKOFF_S = 30.0

CHARS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4


def estimate_tokens(texts: Iterable[str], answer_tokens: int, max_tokens: int) -> int:
    """Tokens a call will use, before any tokenizer: prompt and answer.

    Four characters a token, the usual rule for English, four tokens of markup a message, and the
    `answer_tokens` expected, at most `max_tokens`. Other scripts take more; `RateLimiter.settle` sets that
    right after each answer.
    """
    prompt = sum(math.ceil(len(text) / CHARS_PER_TOKEN) + _TOKENS_PER_MESSAGE for text in texts)
    return prompt + min(max_tokens, answer_tokens)


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
    """One provider's limits, for all requests of one event loop. Times are the loop's, in seconds.

    `shared` holds the limits that other runs draw from as well; whoever made it closes it.
    """

    def __init__(
        self, requests_per_minute: float, tokens_per_minute: float, shared: SharedPermits | None = None
    ) -> None:
        self._requests = _Bucket(requests_per_minute)
        self._tokens = _Bucket(tokens_per_minute)
        self._request_pace = Pace(requests_per_minute)
        self._token_pace = Pace(tokens_per_minute)
        self._tokens_per_minute = tokens_per_minute
        self._shared = shared
        self._turn = asyncio.Lock()
        self._next_tokens = 1
        self._largest = 0.0
        self._debt = 0.0  # negative: a credit
        self._cut_at = -math.inf
        self._cuts_in_a_row = 0
        self._paused_until = -math.inf
        self._open = asyncio.Event()
        self._open.set()

    async def acquire(self, tokens: int) -> None:
        """Wait until one request of so many tokens (an estimate) may be sent.

        Raises:
            FigaError: the shared limits cannot be drawn from.
        """
        async with self._turn:
            self._next_tokens = tokens
            await self._take_tokens(tokens)
            while True:
                await self._open.wait()
                await self._sleep_out_pause()
                await self._take_request()
                if self._paused_until <= _now() and self._open.is_set():
                    return

    def observe(self, limits: StatedLimits | None, sent_at: float) -> None:
        """Take in what the headers of an answer state, whatever its status; its call was sent at `sent_at`.

        A stated limit bounds the rate; where nothing is left, or fewer tokens than the next call will use,
        all calls are held back.
        """
        if limits is None:
            return
        now = _now()
        for pace, stated, needed in (
            (self._request_pace, limits.requests, 1),
            (self._token_pace, limits.tokens, self._next_tokens),
        ):
            pace.note(stated, now)
            self.pause(pace.hold_s(stated, needed, sent_at=sent_at, now=now))

    def settle(self, reserved: int, used: int | None) -> None:
        """Correct a reservation by the provider's `usage`; None keeps the estimate."""
        self._cuts_in_a_row = 0
        if used is not None:
            credit_max = max(self._tokens.capacity, self._largest)
            self._debt = max(self._debt + used - reserved, -credit_max)

    def refund(self, reserved: int) -> None:
        """Give back a reservation that used nothing: nobody was reached."""
        self._debt = max(self._debt - reserved, -max(self._tokens.capacity, self._largest))

    def throttle(
        self, sent_at: float, retry_after_s: float | None, limits: StatedLimits | None = None
    ) -> float:
        """A call sent at `sent_at` (loop time) got a 429: slow down, and hold all calls back.

        Without a Retry-After the pause is 1 s and doubles with every 429 in a row. `limits` tells whether it
        was requests or tokens. Returns the pause's seconds.
        """
        first = sent_at >= self._cut_at  # the others of the same moment learnt nothing new
        if first:
            self._cut_at = _now()
            self._cuts_in_a_row += 1
        doubled = min(MAX_BACKOFF_S, 2.0 ** (self._cuts_in_a_row - 1))
        pause = doubled if retry_after_s is None else max(0.0, retry_after_s)
        self.pause(pause)
        if first:
            for pace in self._to_blame(limits):
                pace.throttle(self._cut_at, self._paused_until)
        return pause

    def back_off(self, sent_at: float, wait_s: float) -> float:
        """A call sent at `sent_at` was told by a busy server to wait: hold all calls back, at the same rate.

        A server that says so again and again is given the doubling pauses of `throttle` at the least.
        Returns the pause's seconds.
        """
        if sent_at >= self._cut_at:
            self._cut_at = _now()
            self._cuts_in_a_row += 1
        pause = max(wait_s, min(MAX_BACKOFF_S, 2.0 ** (self._cuts_in_a_row - 1)))
        self.pause(pause)
        return pause

    def hold(self) -> None:
        """Let nothing pass until `release`."""
        self._open.clear()

    def release(self) -> None:
        """End a `hold`."""
        self._open.set()

    def pause(self, seconds: float) -> None:
        """Hold all calls back for so long, or as long as they are held back already."""
        self._paused_until = max(self._paused_until, _now() + seconds)

    def share(self) -> float:
        """The part of the configured rates in force: 1, or less when the provider wants it so."""
        now = _now()
        return min(self._request_pace.share(now), self._token_pace.share(now))

    async def _take_tokens(self, tokens: int) -> None:
        permitted = self._tokens_per_minute
        self._largest = max(self._largest, min(tokens, permitted / 2))
        due = tokens + self._debt
        self._debt = min(due, 0.0)
        price = max(due, 0.0) / self._token_pace.share(_now())
        await self._tokens.take(price * permitted / (permitted - self._largest))
        if self._shared is not None:
            await self._shared.tokens.take(price)

    async def _take_request(self) -> None:
        price = 1 / self._request_pace.share(_now())
        await self._requests.take(price)
        if self._shared is not None:
            await self._shared.requests.take(price)

    def _to_blame(self, limits: StatedLimits | None) -> list[Pace]:
        """The rates that a 429 may have been about: those nearly used up, or both."""
        both = [self._request_pace, self._token_pace]
        if limits is None:
            return both
        used_up = [nearly_used_up(limits.requests), nearly_used_up(limits.tokens)]
        return [pace for pace, used in zip(both, used_up, strict=True) if used] or both

    async def _sleep_out_pause(self) -> None:
        while (left := self._paused_until - _now()) > 0:
            await asyncio.sleep(left)


def _now() -> float:
    return asyncio.get_running_loop().time()

"""Limits requests and tokens per minute from the first second, with `aiolimiter`'s leaky buckets.

No more than the limit passes in any 60 seconds:

- A bucket starts full and refills while it is emptied. Refilled at the permitted rate, it would let more than
  a minute's worth through in its first minute. Ours holds a quarter of a second's worth and refills at 60/61
  of the permitted rate, which leaves room for that burst and for ¾ s of jitter on the way to the server.
- A request larger than the bucket pays in instalments, some of them perhaps before the window began. So the
  price of a token is raised by T / (T − largest), with T tokens permitted: then the largest request and all
  payments within a window fit into T together.
- One request at a time waits at the buckets, in order of arrival; `aiolimiter` alone would let small ones
  overtake forever. The request slot is taken last.

Tokens are reserved by estimate, and `settle` corrects that: a call that used more leaves a debt, which the
next reservation pays; one that used less leaves a credit.

After a 429 all calls wait as long as the provider says, and the rate falls, once for all calls that were
under way together. Limits in the headers of any answer are obeyed too (`observe`); `pace` changes the rate.

Runs that use one key share its limits: with `shared`, every call also needs permits from there (`permits`).
"""

import asyncio
import math
from collections.abc import Iterable

from aiolimiter import AsyncLimiter

from figa_core.llm.pace import Pace, nearly_used_up
from figa_core.llm.permits import SharedPermits
from figa_core.llm.stated import StatedLimits

_SAFETY = 60 / 61
_BURST_S = 0.25
_BACKOFF_MAX_S = 30.0

CHARS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4


def estimate_tokens(texts: Iterable[str], answer_tokens: int, max_tokens: int) -> int:
    """Tokens that a call will use for prompt and answer, without a tokenizer.

    Four characters per token, as is usual for English, four tokens of markup per message, and the
    `answer_tokens`, at most `max_tokens`. Other scripts need more; `RateLimiter.settle` corrects that.
    """
    prompt = sum(math.ceil(len(text) / CHARS_PER_TOKEN) + _TOKENS_PER_MESSAGE for text in texts)
    return prompt + min(max_tokens, answer_tokens)


class _Bucket:
    """An `AsyncLimiter` that accepts amounts larger than its capacity."""

    def __init__(self, per_minute: float) -> None:
        per_second = per_minute / 60 * _SAFETY
        self.capacity = max(1.0, per_second * _BURST_S)
        self._limiter = AsyncLimiter(self.capacity, self.capacity / per_second)

    async def take(self, amount: float) -> None:
        while amount > 0:
            instalment = min(amount, self.capacity)
            await self._limiter.acquire(instalment)
            amount -= instalment


class RateLimiter:
    """One provider's limits, for all requests of one event loop. Times are the loop's, in seconds.

    `shared` has limits that other runs use as well; its owner closes it.
    """

    def __init__(
        self, requests_per_minute: float, tokens_per_minute: float, shared: SharedPermits | None = None
    ) -> None:
        self._requests = _Bucket(requests_per_minute)
        self._tokens = _Bucket(tokens_per_minute)
        self.request_pace = Pace(requests_per_minute)
        self.token_pace = Pace(tokens_per_minute)
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
        """Wait until one request of about so many tokens may be sent.

        Raises:
            FigaError: the shared limits cannot be drawn from.
        """
        async with self._turn:
            self._next_tokens = tokens
            await self._take_tokens(tokens)
            while True:
                await self._open.wait()
                while (left := self._paused_until - _now()) > 0:
                    await asyncio.sleep(left)
                await self._take_request()
                if self._paused_until <= _now() and self._open.is_set():
                    return

    def observe(self, limits: StatedLimits | None, sent_at: float) -> None:
        """Obey the limits that the headers of an answer state; its call was sent at `sent_at`.

        A stated limit bounds the rate. If nothing is left, or fewer tokens than the next call needs, all
        calls are held back.
        """
        if limits is None:
            return
        now = _now()
        for pace, stated, needed in (
            (self.request_pace, limits.requests, 1),
            (self.token_pace, limits.tokens, self._next_tokens),
        ):
            pace.note(stated, now)
            self.pause(pace.hold_s(stated, needed, sent_at=sent_at, now=now))

    def settle(self, reserved: int, used: int | None) -> None:
        """Correct a reservation by the provider's `usage`; None keeps the estimate."""
        self._cuts_in_a_row = 0
        if used is not None:
            self.refund(reserved - used)

    def refund(self, tokens: int) -> None:
        """Give back tokens that were reserved and not used; a negative number takes more."""
        self._debt = max(self._debt - tokens, -max(self._tokens.capacity, self._largest))

    def throttle(
        self, sent_at: float, retry_after_s: float | None, limits: StatedLimits | None = None
    ) -> float:
        """A call sent at `sent_at` got a 429: slow down and hold all calls back; return for how many seconds.

        Without a Retry-After that is 1 s, which doubles with every 429 in a row. `limits` shows whether the
        429 was about requests or tokens.
        """
        first, doubled = self._count_cut(sent_at)
        pause = doubled if retry_after_s is None else max(0.0, retry_after_s)
        self.pause(pause)
        if first:
            for pace in self._to_blame(limits):
                pace.throttle(self._cut_at, self._paused_until)
        return pause

    def back_off(self, sent_at: float, wait_s: float) -> float:
        """A busy server told a call sent at `sent_at` to wait: hold all calls back, without slowing down.

        Returns for how many seconds: at least the doubling pauses of `throttle`.
        """
        _, doubled = self._count_cut(sent_at)
        pause = max(wait_s, doubled)
        self.pause(pause)
        return pause

    def hold(self) -> None:
        """Let nothing pass until `release`."""
        self._open.clear()

    def release(self) -> None:
        """End a `hold`."""
        self._open.set()

    def pause(self, seconds: float) -> None:
        """Hold all calls back for so long, unless they already are for longer."""
        self._paused_until = max(self._paused_until, _now() + seconds)

    async def _take_tokens(self, tokens: int) -> None:
        permitted = self._tokens_per_minute
        self._largest = max(self._largest, min(tokens, permitted / 2))
        due = tokens + self._debt
        self._debt = min(due, 0.0)
        price = max(due, 0.0) / self.token_pace.share(_now())
        await self._tokens.take(price * permitted / (permitted - self._largest))
        if self._shared is not None:
            await self._shared.tokens.take(price)

    async def _take_request(self) -> None:
        price = 1 / self.request_pace.share(_now())
        await self._requests.take(price)
        if self._shared is not None:
            await self._shared.requests.take(price)

    def _count_cut(self, sent_at: float) -> tuple[bool, float]:
        """Whether a call is the first of those under way together that must wait, and a doubling pause."""
        first = sent_at >= self._cut_at
        if first:
            self._cut_at = _now()
            self._cuts_in_a_row += 1
        return first, min(_BACKOFF_MAX_S, 2.0 ** (self._cuts_in_a_row - 1))

    def _to_blame(self, limits: StatedLimits | None) -> list[Pace]:
        """The rates that a 429 may be about: those nearly used up, or both."""
        both = [self.request_pace, self.token_pace]
        if limits is None:
            return both
        used_up = [nearly_used_up(limits.requests), nearly_used_up(limits.tokens)]
        return [pace for pace, used in zip(both, used_up, strict=True) if used] or both


def _now() -> float:
    return asyncio.get_running_loop().time()

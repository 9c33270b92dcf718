"""One call for a question, from budget to record, and what its reply means for all the others.

    budget → limiter → `CallSent` durable → request → `CallAnswered` durable → the final value, or again

The part between the two records is a task of its own that nothing but the end of its patience cancels: it is
paid for.

A refusal that may be everybody's settles no question (`doubts`). Once there are too many of them, nothing
more is sent, and the calls under way decide: the first that is answered after all lets the others go on, and
with the last one that is not the run ends.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from figa_core.errors import LLMError
from figa_core.llm.asking import Asking, CallEnd, judge
from figa_core.llm.attempts import Step, blame, run_ending_message
from figa_core.llm.budget import Budget, billed_tokens
from figa_core.llm.calls import CallAnswered, CallOutcome, CallSent
from figa_core.llm.dialect import Dialect
from figa_core.llm.doubts import Doubt, Doubts, Held, Owner, Systematic
from figa_core.llm.health import EndpointHealth, is_served
from figa_core.llm.journal import AnswerJournal
from figa_core.llm.likeness import likeness
from figa_core.llm.limiter import RateLimiter, estimate_tokens
from figa_core.llm.question import V
from figa_core.llm.reply import Reply
from figa_core.llm.settings import AskerSettings
from figa_core.llm.transport import Transport


class Caller:
    """Makes the calls of one asker, and knows what they have taught about its endpoint."""

    def __init__(
        self,
        settings: AskerSettings,
        transport: Transport,
        *,
        journal: AnswerJournal,
        budget: Budget,
        limiter: RateLimiter,
        on_note: Callable[[str], None],
    ) -> None:
        self._settings, self._transport, self._journal = settings, transport, journal
        self._budget, self._limiter = budget, limiter
        self._health = EndpointHealth(transport.url, settings.patience, settings.section)
        self._doubts = Doubts(settings.suspicion)
        self._dialect = Dialect(leave_out=settings.leave_out, bounded=budget.capped, on_note=on_note)
        self._under_way: dict[str, float] = {}
        self.ended: LLMError | None = None
        """Why the endpoint is not asked any more, once it is not."""

    async def call(self, asking: Asking[V], owner: Owner, calls: set[asyncio.Task[CallEnd[V]]]) -> CallEnd[V]:
        """Have the call paid for and permitted, then make it; a cancelled caller leaves it in `calls`.

        Raises:
            LLMError: the endpoint refuses the whole run.
            StorageError: the journal cannot be written.
        """
        texts = [message["content"] for message in asking.messages]
        tokens = estimate_tokens(texts, asking.question.answer_tokens, asking.max_tokens)
        price = self._settings.price
        reserved_usd = None if price is None else price.most(texts, asking.max_tokens)
        await self._budget.reserve(reserved_usd or 0.0)
        try:
            await self._limiter.acquire(tokens)
            if self.ended is not None:
                raise self.ended
        except BaseException:
            self._budget.settle(reserved_usd or 0.0, 0.0)
            raise
        task = asyncio.create_task(self._call(asking, owner, tokens, reserved_usd))
        calls.add(task)
        try:
            end = await asyncio.shield(task)
        except asyncio.CancelledError:
            raise  # the call goes on, and whoever has `calls` collects it
        except Exception:
            calls.discard(task)
            raise
        calls.discard(task)
        if self.ended is not None and end.step is not Step.SETTLE:
            raise self.ended
        return end

    async def settle_doubts(self, owner: Owner) -> None:
        """Settle what is held for an owner that has no more questions: each by its own refusal.

        Where the endpoint has not answered a single call, refusals of several questions in the same words
        stay open instead: nothing shows that they are the questions' own.
        """
        held = self._doubts.release(owner)
        alike = Counter(doubt.alike for doubt in held)
        if not self._health.served:
            several = self._settings.suspicion.nobody
            held = [_open(doubt) if alike[doubt.alike] >= several else doubt for doubt in held]
        await self._settle(held)

    async def _call(
        self, asking: Asking[V], owner: Owner, tokens: int, reserved_usd: float | None
    ) -> CallEnd[V]:
        """One call from record to record. Its answer is journalled before anybody else hears of it."""
        about = (uuid.uuid4().hex, asking.question.purpose, asking.question.subject_id, asking.attempt)
        sent = CallSent(*about, time.time(), tokens, reserved_usd)
        await self._journal.append(sent)
        loop = asyncio.get_running_loop()
        sent_at = self._under_way[sent.call_id] = loop.time()
        try:
            return await self._answered(asking, owner, sent, sent_at)
        finally:
            self._under_way.pop(sent.call_id, None)

    async def _answered(self, asking: Asking[V], owner: Owner, sent: CallSent, sent_at: float) -> CallEnd[V]:
        asked: dict[str, Any] = self._dialect.fields(asking.question.decoding, asking.max_tokens)
        asked["messages"] = self._dialect.messages(asking.messages)
        reply = await self._transport.ask(**asked)
        latency_s = asyncio.get_running_loop().time() - sent_at
        busy = self._is_busy(asking, reply, sent_at)
        pause_s = self._account(reply, sent.estimated_tokens, sent_at, busy=busy)
        cost_usd = None if self._settings.price is None else self._settings.price.of(reply)
        self._budget.settle(sent.reserved_usd or 0.0, cost_usd)
        end = judge(
            asking, reply, asked, self._settings, self._dialect, served=self._health.served, busy=busy
        )
        prompt_tokens, completion_tokens = billed_tokens(reply) or (None, None)
        await self._journal.append(
            CallAnswered(
                sent.call_id,
                sent.purpose,
                sent.subject_id,
                sent.attempt,
                time.time(),
                latency_s,
                end.reply.outcome,
                end.reply.message or (end.again and end.again.reason),
                prompt_tokens,
                completion_tokens,
                end.value,
                cost_usd,
                asking.question.mark,
            )
        )
        del self._under_way[sent.call_id]
        await self._consider_run(asking, end, owner, sent_at, pause_s)
        return end

    def _is_busy(self, asking: Asking[Any], reply: Reply, sent_at: float) -> bool:
        """Whether a 5xx with a Retry-After asks everybody to wait.

        One that a single question gets again and again, while others are answered, is that question's error.
        """
        if reply.outcome is not CallOutcome.SERVER_ERROR or reply.retry_after_s is None:
            return False
        if asking.busy_at is None:
            asking.busy_at = sent_at
            return True
        return not self._health.served_since(asking.busy_at)

    def _account(self, reply: Reply, tokens: int, sent_at: float, *, busy: bool) -> float:
        """Set the limiter right; return the seconds that the endpoint asked to wait."""
        self._limiter.observe(reply.limits, sent_at)
        if reply.outcome is CallOutcome.RATE_LIMITED:
            self._limiter.refund(tokens)
            return self._limiter.throttle(sent_at, reply.retry_after_s, reply.limits)
        if busy and reply.retry_after_s is not None:
            self._limiter.refund(tokens)
            return self._limiter.back_off(sent_at, reply.retry_after_s)
        if reply.outcome is CallOutcome.CONNECTION_FAILED:
            self._limiter.refund(tokens)
        else:
            self._limiter.settle(tokens, reply.used_tokens)
        return 0.0

    async def _consider_run(
        self, asking: Asking[Any], end: CallEnd[Any], owner: Owner, sent_at: float, pause_s: float
    ) -> None:
        """End the run if this reply does; hold everybody back while nobody answers."""
        reply = end.reply
        if end.step is Step.END_RUN:
            where = {"url": self._transport.url, "model": self._transport.model}
            message = run_ending_message(reply, **where, section=self._settings.section)
            return self._end(LLMError(message))
        now = asyncio.get_running_loop().time()
        try:
            pause_s = self._health.note(reply, sent_at=sent_at, now=now, pause_s=pause_s)
        except LLMError as error:
            return self._end(error)
        self._limiter.pause(pause_s)
        if is_served(reply):
            await self._settle(self._doubts.refute(sent_at))
        elif end.no_answer is not None and (end.step is Step.DOUBT or end.no_answer.retryable):
            alike = f"{reply.outcome} {reply.status} {likeness(reply.message)}"
            held = Held(asking.question, end.no_answer) if end.step is Step.DOUBT else None
            message = reply.message or str(reply.outcome)
            self._doubts.hold(Doubt(blame(reply), alike, message, sent_at, owner, held))
        self._decide()

    async def _settle(self, doubts: list[Doubt]) -> None:
        settled = [(doubt.owner, doubt.held.settled(time.time())) for doubt in doubts if doubt.held]
        await asyncio.gather(*(self._journal.append(record) for _, record in settled))
        for owner, record in settled:
            owner(record.value)

    def _decide(self) -> None:
        """End the run if the refusals held are everybody's: only calls under way can show they are not."""
        found = self._doubts.systematic()
        if found is None:
            self._limiter.release()
        elif any(sent_at > found.since for sent_at in self._under_way.values()):
            self._limiter.hold()
        else:
            self._end(LLMError(_systematic_message(found, self._transport, self._settings.section)))

    def _end(self, error: LLMError) -> None:
        """The end of the run for all: whoever waits for the limiter is told so too. The first one counts."""
        self.ended = self.ended or error
        self._limiter.release()


def _open(doubt: Doubt) -> Doubt:
    """The same, with its question left open."""
    assert doubt.held is not None
    return replace(doubt, held=doubt.held._replace(why=replace(doubt.held.why, retryable=True)))


def _systematic_message(found: Systematic, transport: Transport, section: str) -> str:
    return (
        f"{transport.url}, model {transport.model!r}: {found.rows} rows in a row were refused alike, the "
        f"last one with {found.message}. That is no row's own fault: check the key, the account and the "
        f"{section} section against what the endpoint takes. These rows and those not answered yet stay "
        "open: run again to go on with them."
    )

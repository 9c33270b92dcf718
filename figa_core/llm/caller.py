"""One call for a question, and what its reply means for all other calls.

    budget → limiter → `CallSent` durable → request → `CallAnswered` durable → final value, or the next call

The part between the two records is a task of its own, cancelled only after `drain_s`: it is paid for.

A refusal that may concern all questions settles none (`doubts`). Once there are too many of them, nothing
more is sent, and the calls under way decide: if one is answered, the run continues; if none is, it ends.
"""

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import Callable, Container
from typing import Any

from figa_core.errors import LLMError, RefusedRunError
from figa_core.llm.asking import Asking, CallEnd, judge
from figa_core.llm.attempts import Step, blame, run_ending_message
from figa_core.llm.budget import Budget, billed_tokens
from figa_core.llm.calls import CallAnswered, CallOutcome, CallSent
from figa_core.llm.dialect import Dialect
from figa_core.llm.doubts import Doubt, Doubts, Owner
from figa_core.llm.health import EndpointHealth, is_served
from figa_core.llm.journal import AnswerJournal
from figa_core.llm.likeness import likeness
from figa_core.llm.limiter import RateLimiter, estimate_tokens
from figa_core.llm.question import V
from figa_core.llm.reply import Reply
from figa_core.llm.settings import AskerSettings
from figa_core.llm.transport import Transport


class Caller:
    """Makes the calls of one asker, and keeps what they have shown about its endpoint."""

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
        self.ended: LLMError | None = None  # why nothing more is asked

    async def call(self, asking: Asking[V], owner: Owner, calls: set[asyncio.Task[CallEnd[V]]]) -> CallEnd[V]:
        """Wait for budget and limiter, then make the call; if this is cancelled, the call stays in `calls`.

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
            raise  # the call continues, and the owner of `calls` collects it
        except Exception:
            calls.discard(task)
            raise
        calls.discard(task)
        if self.ended is not None and end.step is not Step.SETTLE:
            raise self.ended
        return end

    async def settle_doubts(self, owner: Owner) -> None:
        """Settle the held questions of an owner that has no more: each by its own refusal.

        If the endpoint has never answered, several refusals in the same words leave their questions open:
        nothing shows that the questions are at fault.
        """
        doubts = self._doubts.release(owner)
        alike = Counter(doubt.alike for doubt in doubts)
        several = math.inf if self._health.served else self._settings.suspicion.unknown
        await self._settle(doubts, retryable={words for words, count in alike.items() if count >= several})

    async def _call(
        self, asking: Asking[V], owner: Owner, tokens: int, reserved_usd: float | None
    ) -> CallEnd[V]:
        """One call from record to record. Its answer is journalled before it is used."""
        about = (uuid.uuid4().hex, asking.question.purpose, asking.question.subject_id, asking.attempt)
        sent = CallSent(*about, time.time(), tokens, reserved_usd)
        await self._journal.append(sent)
        sent_at = self._under_way[sent.call_id] = _now()
        try:
            return await self._answered(asking, owner, sent, sent_at)
        finally:
            self._under_way.pop(sent.call_id, None)

    async def _answered(self, asking: Asking[V], owner: Owner, sent: CallSent, sent_at: float) -> CallEnd[V]:
        asked: dict[str, Any] = self._dialect.fields(asking.question.decoding, asking.max_tokens)
        asked["messages"] = self._dialect.messages(asking.messages)
        reply = await self._transport.ask(**asked)
        latency_s = _now() - sent_at
        busy = self._is_busy(asking, reply, sent_at)
        pause_s = self._account(reply, sent.estimated_tokens, sent_at, busy=busy)
        cost_usd = None if self._settings.price is None else self._settings.price.of(reply)
        self._budget.settle(sent.reserved_usd or 0.0, cost_usd)
        end = judge(
            asking, reply, asked, self._settings, self._dialect, served=self._health.served, busy=busy
        )
        about = (sent.call_id, sent.purpose, sent.subject_id, sent.attempt, time.time(), latency_s)
        message = end.reply.message or (end.again and end.again.reason)
        tokens = billed_tokens(reply) or (None, None)
        mark = asking.question.mark
        await self._journal.append(
            CallAnswered(*about, end.reply.outcome, message, *tokens, end.value, cost_usd, mark)
        )
        del self._under_way[sent.call_id]
        await self._consider_run(asking, end, owner, sent_at, pause_s)
        return end

    def _is_busy(self, asking: Asking[Any], reply: Reply, sent_at: float) -> bool:
        """Whether a 5xx with a Retry-After asks all calls to wait.

        If one question gets it repeatedly while others are answered, it is that question's error.
        """
        if reply.outcome is not CallOutcome.SERVER_ERROR or reply.retry_after_s is None:
            return False
        if asking.busy_at is None:
            asking.busy_at = sent_at
            return True
        return not self._health.served_since(asking.busy_at)

    def _account(self, reply: Reply, tokens: int, sent_at: float, *, busy: bool) -> float:
        """Correct the limiter; return for how many seconds the endpoint asked all calls to wait."""
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
        """End the run, or pause all calls, if this reply calls for it."""
        reply = end.reply
        if end.step is Step.END_RUN:
            url, model, section = self._transport.url, self._transport.model, self._settings.section
            message = run_ending_message(reply, url=url, model=model, section=section)
            return self._end(RefusedRunError(message))
        try:
            pause_s = self._health.note(reply, sent_at=sent_at, now=_now(), pause_s=pause_s)
        except LLMError as error:
            return self._end(error)
        self._limiter.pause(pause_s)
        if is_served(reply):
            await self._settle(self._doubts.refute(sent_at))
        elif end.no_answer is not None and (end.step is Step.DOUBT or end.no_answer.retryable):
            alike = f"{reply.outcome} {reply.status} {likeness(reply.message)}"
            message = reply.message or str(reply.outcome)
            refused = (asking.question, end.no_answer, blame(reply), alike, message)
            self._doubts.hold(Doubt(*refused, sent_at, owner, held=end.step is Step.DOUBT))
        self._decide()

    async def _settle(self, doubts: list[Doubt], *, retryable: Container[str] = ()) -> None:
        now = time.time()
        settled = [(d.owner, d.settled(now, retryable=d.alike in retryable)) for d in doubts]
        await asyncio.gather(*(self._journal.append(record) for _, record in settled))
        for owner, record in settled:
            owner(record.value)

    def _decide(self) -> None:
        """End the run if the held refusals concern all questions: only a call under way can disprove it."""
        found = self._doubts.systematic()
        since = min((doubt.sent_at for doubt in found), default=math.inf)
        if not found:
            self._limiter.release()
        elif any(sent_at > since for sent_at in self._under_way.values()):
            self._limiter.hold()
        else:
            self._end(RefusedRunError(_systematic_message(found, self._transport, self._settings.section)))

    def _end(self, error: LLMError) -> None:
        """End the run; the first error counts. Calls that wait for the limiter end too."""
        self.ended = self.ended or error
        self._limiter.release()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _systematic_message(found: list[Doubt], transport: Transport, section: str) -> str:
    return (
        f"{transport.url}, model {transport.model!r}: {len(found)} rows in a row were refused alike, the "
        f"last one with {found[-1].message}. The rows are not the cause: check the key, the account and the "
        f"settings in the {section} section. These rows and those not answered yet stay open: run again to "
        "continue with them."
    )

"""The reviser: rows in, each row's final state out, through any OpenAI-compatible endpoint.

A few worker tasks pull rows from one iterator, so that 100 000 rows are no 100 000 tasks. For every call:

    budget → limiter → `CallSent` durable → request → `CallAnswered` durable → the row's final state, or again

The part between the two records is a task of its own that nothing but the end of its patience cancels.
When the run ends early (Ctrl-C, a key refused, a server gone) the workers stop where they wait, and the
calls under way are given `drain_s` to come back and be journalled: they are paid for.
"""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self

from jinja2 import TemplateError

from figa_core.errors import ReviserError
from figa_core.ports import RevisionRequest
from figa_core.records import Revision, RevisionStatus
from figa_core.revision.attempts import Step, backoff_s, run_ending_message
from figa_core.revision.budget import Budget, billed_tokens
from figa_core.revision.calls import CallAnswered, CallOutcome, CallSent, RowSettled, draft_mark
from figa_core.revision.endpoint import ChatEndpoint
from figa_core.revision.health import EndpointHealth
from figa_core.revision.limiter import RateLimiter, estimate_tokens
from figa_core.revision.permits import SharedPermits
from figa_core.revision.prompt import RESPONSE_FORMAT
from figa_core.revision.reply import Reply
from figa_core.revision.row import CallEnd, Row, judge
from figa_core.revision.settings import ReviserSettings
from figa_core.storage.journal import AnswerJournal


class OpenAIReviser:
    """Satisfies `ports.Reviser`. Belongs to one event loop; make one a run: it holds the rate across batches.

    Args:
        settings: see `ReviserSettings`.
        journal: open; it outlives the reviser's last call.
        api_key: sent to the endpoint and nowhere else.
        budget: what may be spent; needs `settings.price`.
        permits: limits that this run shares with others.

    Raises:
        ReviserError: the address or the key cannot be used at all.
    """

    def __init__(
        self,
        settings: ReviserSettings,
        *,
        journal: AnswerJournal,
        api_key: str,
        budget: Budget | None = None,
        permits: SharedPermits | None = None,
    ) -> None:
        self.settings = settings
        self._journal = journal
        self._budget = budget or Budget(None)
        # Several `revise` at once, so that one begins while the last rows of another are under way.
        self._places = asyncio.Semaphore(settings.max_concurrency)
        self._structured = settings.structured_output
        self._endpoint = ChatEndpoint(
            settings.base_url, settings.model, api_key, timeout_s=settings.timeout_s
        )
        self._limiter = RateLimiter(settings.requests_per_minute, settings.tokens_per_minute, shared=permits)
        self._health = EndpointHealth(self._endpoint.url, settings.patience)
        self._limit_name = "max_tokens"
        self._random = random.Random()
        self._running: list[tuple[list[asyncio.Task[None]], set[asyncio.Task[CallEnd]]]] = []

    def __repr__(self) -> str:
        return f"OpenAIReviser({self._endpoint!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let the calls of a `revise` that was left early come back (bounded); close the connections."""
        for workers, calls in list(self._running):
            await self._stop(workers, calls)
        await self._endpoint.aclose()

    async def revise(self, requests: Sequence[RevisionRequest]) -> AsyncIterator[Revision]:
        """Yield each row's final state as it comes, in any order.

        Raises:
            ReviserError: the endpoint refuses the whole run; the rows not yielded stay pending.
            StorageError: the journal cannot be written; nothing more is sent.
        """
        rows = iter(requests)
        settled: asyncio.Queue[Revision | Exception | None] = asyncio.Queue()
        calls: set[asyncio.Task[CallEnd]] = set()
        workers = [
            asyncio.create_task(self._work(rows, settled, calls), name=f"reviser-{number}")
            for number in range(min(self.settings.max_concurrency, len(requests)))
        ]
        running = (workers, calls)
        self._running.append(running)
        failure: Exception | None = None
        working = len(workers)
        try:
            while working and failure is None:
                item = await settled.get()
                if isinstance(item, Exception):
                    failure = item
                elif item is None:
                    working -= 1
                else:
                    yield item
        finally:
            late = await self._stop(workers, calls)
            self._running.remove(running)
        while not settled.empty():
            item = settled.get_nowait()
            if isinstance(item, Revision):
                yield item
        for revision in late:
            yield revision
        if failure is not None:
            raise failure

    async def _work(
        self,
        rows: Iterator[RevisionRequest],
        settled: "asyncio.Queue[Revision | Exception | None]",
        calls: set[asyncio.Task[CallEnd]],
    ) -> None:
        try:
            for request in rows:
                settled.put_nowait(await self._revise_row(request, calls))
            settled.put_nowait(None)
        except Exception as error:  # handed to the consumer, who stops the others and raises it
            settled.put_nowait(error)

    async def _stop(
        self, workers: list[asyncio.Task[None]], calls: set[asyncio.Task[CallEnd]]
    ) -> list[Revision]:
        """Stop the workers, wait for the calls under way, return the rows that these still settled."""
        for worker in workers:
            worker.cancel()
        try:
            if calls:
                await asyncio.wait(calls, timeout=self.settings.drain_s)
        finally:
            for call in calls:
                call.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        ends = await asyncio.gather(*calls, return_exceptions=True)
        return [end.revision for end in ends if isinstance(end, CallEnd) and end.revision is not None]

    async def _revise_row(self, request: RevisionRequest, calls: set[asyncio.Task[CallEnd]]) -> Revision:
        try:
            question = self.settings.templates.render(request.messages, request.response, request.reference)
            for message in question:
                message["content"].encode()
        except (TemplateError, UnicodeEncodeError) as error:
            return await self._settle_unsendable(request, error)
        row = Row(request, question, self.settings.max_tokens)
        while True:
            async with self._places:
                call = await self._call_once(row, calls)
            if call.revision is not None:
                return call.revision
            if call.step is Step.RETRY:
                first_s = self.settings.backoff_s
                await asyncio.sleep(backoff_s(row.attempt, self._random.random(), first_s=first_s))
            row.prepare_next(call)

    async def _settle_unsendable(self, request: RevisionRequest, error: Exception) -> Revision:
        reason = f"the row cannot be put into a request: {error}"[:500]
        revision = Revision(request.revision_id, request.response_id, RevisionStatus.FAILED, reason=reason)
        await self._journal.append(RowSettled(time.time(), revision))
        return revision

    async def _call_once(self, row: Row, calls: set[asyncio.Task[CallEnd]]) -> CallEnd:
        """Have the call paid for and permitted, then make it; a cancelled caller leaves it to `_stop`."""
        texts = [message["content"] for message in row.messages]
        tokens = estimate_tokens(texts, row.request.response, row.max_tokens)
        price = self.settings.price
        reserved_usd = None if price is None else price.most(texts, row.max_tokens)
        await self._budget.reserve(reserved_usd or 0.0)
        try:
            await self._limiter.acquire(tokens)
        except BaseException:
            self._budget.settle(reserved_usd or 0.0, 0.0)
            raise
        task = asyncio.create_task(self._call(row, tokens, reserved_usd))
        calls.add(task)
        try:
            end = await asyncio.shield(task)
        except asyncio.CancelledError:
            raise  # the call goes on, and `_stop` collects it
        except Exception:
            calls.discard(task)
            raise
        calls.discard(task)
        return end

    async def _call(self, row: Row, tokens: int, reserved_usd: float | None) -> CallEnd:
        """One call from record to record. Its answer is journalled before anybody else hears of it."""
        request, asked = row.request, self._fields(row)
        sent = CallSent(uuid.uuid4().hex, request.revision_id, row.attempt, time.time(), tokens, reserved_usd)
        await self._journal.append(sent)
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        reply = await self._endpoint.ask(row.messages, **asked)
        latency_s = loop.time() - sent_at
        pause_s = self._account(reply, tokens, sent_at)
        cost_usd = None if self.settings.price is None else self.settings.price.of(reply)
        self._budget.settle(reserved_usd or 0.0, cost_usd)
        billed = billed_tokens(reply) or (None, None)
        end = judge(row, reply, asked, self.settings)
        await self._journal.append(
            CallAnswered(
                sent.call_id,
                request.revision_id,
                request.response_id,
                row.attempt,
                time.time(),
                latency_s,
                reply.outcome,
                reply.message or end.reason,
                *billed,
                end.revision,
                cost_usd,
                draft_mark(request.response),
            )
        )
        self._consider_run(reply, end.step, sent_at, pause_s)
        return end

    def _fields(self, row: Row) -> dict[str, Any]:
        """The request's fields besides model and messages."""
        fields = {"temperature": self.settings.temperature, self._limit_name: row.max_tokens}
        return fields | ({"response_format": RESPONSE_FORMAT} if self._structured else {})

    def _account(self, reply: Reply, tokens: int, sent_at: float) -> float:
        """Set the limiter right; return the seconds that a 429 asked to wait."""
        self._limiter.observe(reply.limits, sent_at)
        if reply.outcome is CallOutcome.RATE_LIMITED:
            self._limiter.refund(tokens)
            return self._limiter.throttle(sent_at, reply.retry_after_s, reply.limits)
        if reply.outcome is CallOutcome.CONNECTION_FAILED:
            self._limiter.refund(tokens)
        else:
            self._limiter.settle(tokens, reply.used_tokens)
        return 0.0

    def _consider_run(self, reply: Reply, step: Step, sent_at: float, pause_s: float) -> None:
        """Raise ReviserError if this reply ends the run; hold everybody back while nobody answers."""
        if step is Step.RETRY_RENAMED:
            self._limit_name = "max_completion_tokens"
        if step is Step.RETRY_PLAIN:
            self._structured = False
        if step is Step.END_RUN:
            raise ReviserError(run_ending_message(reply, url=self._endpoint.url, model=self._endpoint.model))
        now = asyncio.get_running_loop().time()
        self._limiter.pause(self._health.note(reply, sent_at=sent_at, now=now, pause_s=pause_s))

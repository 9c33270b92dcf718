"""The reviser: rows in, each row's final state out, through any OpenAI-compatible endpoint.

A few worker tasks pull rows from one iterator, so that 100 000 rows are no 100 000 tasks. For every call:

    limiter → `CallSent` durable → request → `CallAnswered` durable → the row's final state, or again

The part between the two records is a task of its own that nothing but the end of its patience cancels.
When the run ends early (Ctrl-C, a key refused, a server gone) the workers stop where they wait, and the
calls under way are given `drain_s` to come back and be journalled: they are paid for.
"""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from jinja2 import TemplateError

from figa_core.errors import ReviserError
from figa_core.ports import RevisionRequest
from figa_core.records import Revision, RevisionStatus
from figa_core.revision.attempts import Step, backoff_s, next_step, run_ending_message, settle
from figa_core.revision.calls import CallAnswered, CallOutcome, CallSent, RowSettled
from figa_core.revision.endpoint import ChatEndpoint
from figa_core.revision.health import EndpointHealth, Patience
from figa_core.revision.limiter import RateLimiter, estimate_tokens
from figa_core.revision.prompt import render
from figa_core.revision.replies import Reply
from figa_core.storage.journal import AnswerJournal

_LONGER = 2  # how many times the tokens, after an answer that was cut


@dataclass(frozen=True, slots=True)
class ReviserSettings:
    """How to ask. No key in here: a `ReviserSettings` may be printed, logged and stored.

    Attributes:
        requests_per_minute, tokens_per_minute: never exceeded over any minute.
        max_concurrency: calls under way at once.
        max_attempts: calls a row gets; those that end in a 429 or reach nobody do not count.
        timeout_s: seconds for one whole call.
        backoff_s: pause before a row's second attempt; doubles with each further one, with jitter.
        max_tokens: longest answer; asked for again with twice as many, once, if the answer was cut.
        max_edit_share: above it an answer is a rewrite (`validation.edit_share`).
        drain_s: seconds for calls under way when the run ends early.
        patience: what ends the run.
    """

    base_url: str
    model: str
    requests_per_minute: float = 500.0
    tokens_per_minute: float = 200_000.0
    max_concurrency: int = 64
    max_attempts: int = 5
    timeout_s: float = 60.0
    backoff_s: float = 0.5
    temperature: float = 0.0
    max_tokens: int = 1024
    max_edit_share: float = 0.8
    drain_s: float = 15.0
    patience: Patience = field(default_factory=Patience)


class _Call(NamedTuple):
    """How one call ended."""

    step: Step
    revision: Revision | None


@dataclass(slots=True)
class _Row:
    """One row while it is worked on."""

    request: RevisionRequest
    messages: list[dict[str, str]]
    max_tokens: int
    attempt: int = 1
    lengthened: bool = False


class OpenAIReviser:
    """Satisfies `ports.Reviser`. Belongs to one event loop; make one a run: it holds the rate across batches.

    Args:
        settings: see `ReviserSettings`.
        journal: open; it outlives the reviser's last call.
        api_key: sent to the endpoint and nowhere else.

    Raises:
        ReviserError: the address or the key cannot be used at all.
    """

    def __init__(self, settings: ReviserSettings, *, journal: AnswerJournal, api_key: str) -> None:
        self.settings = settings
        self._journal = journal
        self._endpoint = ChatEndpoint(
            settings.base_url, settings.model, api_key, timeout_s=settings.timeout_s
        )
        self._limiter = RateLimiter(settings.requests_per_minute, settings.tokens_per_minute)
        self._health = EndpointHealth(self._endpoint.url, settings.patience)
        self._limit_name = "max_tokens"
        self._random = random.Random()
        self._running: list[tuple[list[asyncio.Task[None]], set[asyncio.Task[_Call]]]] = []

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
        calls: set[asyncio.Task[_Call]] = set()
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
        calls: set[asyncio.Task[_Call]],
    ) -> None:
        try:
            for request in rows:
                settled.put_nowait(await self._revise_row(request, calls))
            settled.put_nowait(None)
        except Exception as error:  # handed to the consumer, who stops the others and raises it
            settled.put_nowait(error)

    async def _stop(
        self, workers: list[asyncio.Task[None]], calls: set[asyncio.Task[_Call]]
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
        return [end.revision for end in ends if isinstance(end, _Call) and end.revision is not None]

    async def _revise_row(self, request: RevisionRequest, calls: set[asyncio.Task[_Call]]) -> Revision:
        try:
            messages = render(request.messages, request.response, request.reference)
            for message in messages:
                message["content"].encode()
        except (TemplateError, UnicodeEncodeError) as error:
            return await self._settle_unsendable(request, error)
        row = _Row(request, messages, self.settings.max_tokens)
        while True:
            call = await self._call_once(row, calls)
            if call.revision is not None:
                return call.revision
            if call.step is Step.RETRY_LONGER:
                row.max_tokens, row.lengthened = row.max_tokens * _LONGER, True
            if call.step is Step.RETRY:
                first_s = self.settings.backoff_s
                await asyncio.sleep(backoff_s(row.attempt, self._random.random(), first_s=first_s))
            if call.step in (Step.RETRY, Step.RETRY_LONGER):
                row.attempt += 1

    async def _settle_unsendable(self, request: RevisionRequest, error: Exception) -> Revision:
        reason = f"the row cannot be put into a request: {error}"[:500]
        revision = Revision(request.revision_id, request.response_id, RevisionStatus.FAILED, reason=reason)
        await self._journal.append(RowSettled(time.time(), revision))
        return revision

    async def _call_once(self, row: _Row, calls: set[asyncio.Task[_Call]]) -> _Call:
        tokens = estimate_tokens((m["content"] for m in row.messages), row.request.response, row.max_tokens)
        await self._limiter.acquire(tokens)
        task = asyncio.create_task(self._call(row, tokens))
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

    async def _call(self, row: _Row, tokens: int) -> _Call:
        """One call from record to record. Its answer is journalled before anybody else hears of it."""
        settings, request = self.settings, row.request
        call_id, limit_name = uuid.uuid4().hex, self._limit_name
        await self._journal.append(CallSent(call_id, request.revision_id, row.attempt, time.time(), tokens))
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        reply = await self._endpoint.ask(
            row.messages, temperature=settings.temperature, max_tokens=row.max_tokens, limit_name=limit_name
        )
        latency_s = loop.time() - sent_at
        pause_s = self._account(reply, tokens, sent_at)
        step = next_step(
            reply,
            attempt=row.attempt,
            max_attempts=settings.max_attempts,
            lengthened=row.lengthened,
            limit_name=limit_name,
        )
        revision = None
        if step is Step.SETTLE:
            revision = settle(request, reply, attempt=row.attempt, max_edit_share=settings.max_edit_share)
        await self._journal.append(
            CallAnswered(
                call_id,
                request.revision_id,
                request.response_id,
                row.attempt,
                time.time(),
                latency_s,
                reply.outcome,
                reply.message,
                reply.prompt_tokens,
                reply.completion_tokens,
                revision,
            )
        )
        self._consider_run(reply, step, sent_at, pause_s)
        return _Call(step, revision)

    def _account(self, reply: Reply, tokens: int, sent_at: float) -> float:
        """Set the limiter right; return the seconds that a 429 asked to wait."""
        if reply.outcome is CallOutcome.RATE_LIMITED:
            self._limiter.refund(tokens)
            return self._limiter.throttle(sent_at, reply.retry_after_s)
        if reply.outcome is CallOutcome.CONNECTION_FAILED:
            self._limiter.refund(tokens)
        else:
            self._limiter.settle(tokens, reply.used_tokens)
        return 0.0

    def _consider_run(self, reply: Reply, step: Step, sent_at: float, pause_s: float) -> None:
        """Raise ReviserError if this reply ends the run; hold everybody back while nobody answers."""
        if step is Step.RETRY_RENAMED:
            self._limit_name = "max_completion_tokens"
        if step is Step.END_RUN:
            raise ReviserError(run_ending_message(reply, url=self._endpoint.url, model=self._endpoint.model))
        now = asyncio.get_running_loop().time()
        self._limiter.pause(self._health.note(reply, sent_at=sent_at, now=now, pause_s=pause_s))

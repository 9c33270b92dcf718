"""The reviser: rows in, each row's final state out, through any OpenAI-compatible endpoint.

A few worker tasks pull rows from one iterator, so that 100 000 rows are no 100 000 tasks. `caller.py` makes
their calls.

When the run ends early (Ctrl-C, a key refused, a server gone) the workers stop where they wait, and the
calls under way are given `drain_s` to come back and be journalled: they are paid for.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Self

from jinja2 import TemplateError

from figa_core.llm.budget import Budget
from figa_core.llm.calls import RowSettled
from figa_core.llm.doubts import Owner
from figa_core.llm.endpoint import ChatEndpoint
from figa_core.llm.journal import AnswerJournal
from figa_core.llm.limiter import RateLimiter
from figa_core.llm.permits import SharedPermits
from figa_core.ports import RevisionRequest
from figa_core.records import Revision, RevisionStatus
from figa_core.revision.attempts import Step, backoff_s
from figa_core.revision.caller import Caller
from figa_core.revision.row import CallEnd, Row
from figa_core.revision.settings import ReviserSettings

_log = logging.getLogger(__name__)
_Settled = asyncio.Queue[Revision | Exception | None]


class OpenAIReviser:
    """Satisfies `ports.Reviser`. Belongs to one event loop; make one a run: it holds the rate across batches.

    Args:
        settings: see `ReviserSettings`.
        journal: open; it outlives the reviser's last call.
        api_key: sent to the endpoint and nowhere else.
        budget: what may be spent; needs `settings.price`.
        permits: limits that this run shares with others.
        on_note: gets a sentence, once, about each setting that the endpoint turns out not to take; it is
            logged as well.

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
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self._journal, self._on_note = journal, on_note
        # Several `revise` at once, so that one begins while the last rows of another are under way.
        self._places = asyncio.Semaphore(settings.max_concurrency)
        self._endpoint = ChatEndpoint(
            settings.base_url, settings.model, api_key, timeout_s=settings.timeout_s
        )
        self._caller = Caller(
            settings,
            self._endpoint,
            journal=journal,
            budget=budget or Budget(None),
            limiter=RateLimiter(settings.requests_per_minute, settings.tokens_per_minute, shared=permits),
            on_note=self._note,
        )
        self._random = random.Random()
        self._running: list[tuple[list[asyncio.Task[None]], set[asyncio.Task[CallEnd]]]] = []

    def __repr__(self) -> str:
        return f"OpenAIReviser({self._endpoint!r})"

    def _note(self, text: str) -> None:
        _log.warning(text)
        self._on_note(text)

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
        settled = _Settled()
        hand_over = settled.put_nowait  # one object: it tells the rows of this call from others'
        calls: set[asyncio.Task[CallEnd]] = set()
        workers = [
            asyncio.create_task(self._work(rows, settled, hand_over, calls), name=f"reviser-{number}")
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
            failure = failure or self._caller.ended
            if failure is None:
                await self._caller.settle_doubts(hand_over)
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
        settled: _Settled,
        hand_over: Owner,
        calls: set[asyncio.Task[CallEnd]],
    ) -> None:
        try:
            for request in rows:
                revision = await self._revise_row(request, hand_over, calls)
                if revision is not None:
                    hand_over(revision)
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

    async def _revise_row(
        self, request: RevisionRequest, hand_over: Owner, calls: set[asyncio.Task[CallEnd]]
    ) -> Revision | None:
        """The row's final state; None if it is in doubt, and will come later."""
        try:
            question = self.settings.templates.render(request.messages, request.response, request.reference)
            for message in question:
                message["content"].encode()
        except (TemplateError, UnicodeEncodeError) as error:
            return await self._settle_unsendable(request, error)
        row = Row(request, question, self.settings.max_tokens)
        while True:
            async with self._places:
                call = await self._caller.call(row, hand_over, calls)
            if call.revision is not None or call.step is Step.DOUBT:
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

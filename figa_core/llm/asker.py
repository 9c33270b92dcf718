"""The asker: takes questions and yields their final values, through any transport.

Worker tasks pull questions from one iterator, so that 100 000 questions do not become 100 000 tasks.
`caller.py` makes their calls.

If the run ends early (Ctrl-C, a refused key, a server that is down) the workers stop, and the calls under way
have `drain_s` to come back and be journalled, because they are paid for.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Self

from figa_core.llm.asking import Asking, CallEnd
from figa_core.llm.attempts import Step, backoff_s
from figa_core.llm.budget import Budget
from figa_core.llm.caller import Caller
from figa_core.llm.calls import RowSettled
from figa_core.llm.doubts import Owner
from figa_core.llm.journal import AnswerJournal
from figa_core.llm.limiter import RateLimiter
from figa_core.llm.permits import SharedPermits
from figa_core.llm.question import Question, Unaskable, V
from figa_core.llm.settings import AskerSettings
from figa_core.llm.transport import Transport

_log = logging.getLogger(__name__)
_Asked = Question[V] | Unaskable[V]
_Calls = set[asyncio.Task[CallEnd[Any]]]


class Asker:
    """One for each run and event loop: it keeps to the rate across batches.

    Args:
        transport: closed together with the asker.
        journal: open, and closed after the asker.
        budget: needs `settings.price`.
        permits: limits that this run shares with others.
        on_note: gets one sentence, which is logged too, for each setting that the endpoint does not support.
    """

    def __init__(
        self,
        transport: Transport,
        settings: AskerSettings,
        *,
        journal: AnswerJournal,
        budget: Budget | None = None,
        permits: SharedPermits | None = None,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self._transport, self._journal, self._on_note = transport, journal, on_note
        # For all `ask` together: a second one may begin while the first waits for its last answers.
        self._places = asyncio.Semaphore(settings.max_concurrency)
        self._caller = Caller(
            settings,
            transport,
            journal=journal,
            budget=budget or Budget(None),
            limiter=RateLimiter(settings.requests_per_minute, settings.tokens_per_minute, shared=permits),
            on_note=self._note,
        )
        self._random = random.Random()
        self._running: list[tuple[list[asyncio.Task[None]], _Calls]] = []

    def _note(self, text: str) -> None:
        _log.warning(text)
        self._on_note(text)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Wait up to `drain_s` for the calls of an `ask` that was left early; close the connections."""
        for workers, calls in list(self._running):
            await self._stop(workers, calls)
        await self._transport.aclose()

    async def ask(self, questions: Iterable[_Asked[V]]) -> AsyncIterator[V]:
        """Yield the questions' final values as they come, in any order. `questions` are taken as needed.

        Raises:
            LLMError: the endpoint refuses the whole run; questions without a value stay pending.
            StorageError: the journal cannot be written; nothing more is sent.
        """
        waiting = iter(questions)
        settled: asyncio.Queue[V | Exception | None] = asyncio.Queue()
        hand_over = settled.put_nowait  # one object, which identifies this call of `ask`
        calls: _Calls = set()
        workers = [
            asyncio.create_task(self._work(waiting, hand_over, calls), name=f"asker-{number}")
            for number in range(self.settings.max_concurrency)
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
            if item is not None and not isinstance(item, Exception):
                yield item
        for value in late:
            yield value
        if failure is not None:
            raise failure

    async def _work(self, waiting: Iterator[_Asked[V]], hand_over: Owner, calls: _Calls) -> None:
        """Hand over the questions' values; then None, or an error that the consumer raises."""
        try:
            for question in waiting:
                if (value := await self._settle(question, hand_over, calls)) is not None:
                    hand_over(value)
            hand_over(None)
        except Exception as error:
            hand_over(error)

    async def _stop(self, workers: list[asyncio.Task[None]], calls: _Calls) -> list[Any]:
        """Stop the workers, wait for the calls under way, return the values that those settled."""
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
        return [end.value for end in ends if isinstance(end, CallEnd) and end.value is not None]

    async def _settle(self, question: _Asked[V], hand_over: Owner, calls: _Calls) -> V | None:
        """The question's final value; None if it is in doubt and will come later."""
        if isinstance(question, Unaskable):
            await self._journal.append(
                RowSettled(time.time(), question.purpose, question.subject_id, question.value)
            )
            return question.value
        asking = Asking(question, question.decoding.max_tokens)
        while True:
            async with self._places:
                end = await self._caller.call(asking, hand_over, calls)
            if end.step in (Step.SETTLE, Step.DOUBT):
                return end.value
            if end.step is Step.RETRY:
                first_s = self.settings.backoff_s
                await asyncio.sleep(backoff_s(asking.attempt, self._random.random(), first_s=first_s))
            asking.prepare_next(end)

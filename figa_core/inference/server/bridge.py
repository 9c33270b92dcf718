"""Results of a pool, which works in a thread of its own, for a stage, which iterates in its own.

The requests are read in the stage's thread, because they come from its database. At most `WINDOW_ROWS` are
under way or wait to be taken, so that memory does not grow with the number of rows.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from figa_core.inference.server.jobs import Job
from figa_core.ports import RowFailure

WINDOW_ROWS = 4000
_BATCH_S = 1.0  # results that come within it are handed over together
_POLL_S = 0.2  # an interruption is noticed within it
_T = TypeVar("_T")


class Running(Protocol):
    """A pool at work; `run` ends only by an error or by being cancelled."""

    async def run(self) -> None: ...

    def submit(self, job: Job) -> None: ...


Deliver = Callable[[Sequence[Any]], None]
Start = Callable[[Deliver], Coroutine[Any, Any, tuple[Running, Callable[[], Awaitable[None]]]]]
"""Makes a pool in the thread's event loop, and what closes its connections."""


def in_thread(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """The result of a coroutine function, run in a thread with an event loop of its own.

    Stages may run within an event loop, in which no other one can be started.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="vllm-servers") as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def results(
    start: Start,
    jobs: Iterator[Job | RowFailure],
    rows_per_batch: int,
) -> Iterator[list[Any]]:
    """The results of all jobs, in the order in which they come, in batches of about `rows_per_batch` rows;
    rows that have failed before are among them.

    The errors of `start` and of the pool are raised here.
    """
    thread = _PoolThread(start)
    try:
        yield from _exchange(thread, jobs, rows_per_batch)
    finally:
        thread.end()


def _exchange(
    thread: "_PoolThread", jobs: Iterator[Job | RowFailure], rows_per_batch: int
) -> Iterator[list[Any]]:
    outside, batch, begun, more = 0, [], time.monotonic(), True
    while more or outside:
        while more and outside < WINDOW_ROWS and len(batch) < rows_per_batch:
            job = next(jobs, None)
            if job is None:
                more = False
            elif isinstance(job, RowFailure):
                batch.append(job)
            else:
                outside += len(job.rows)
                thread.submit(job)
        arrived = thread.take() if outside else []
        outside -= len(arrived)
        batch += arrived
        if batch and (len(batch) >= rows_per_batch or time.monotonic() - begun >= _BATCH_S or not outside):
            yield batch
            batch, begun = [], time.monotonic()


class _PoolThread:
    """The pool's thread, seen from the stage's."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._out: queue.SimpleQueue[Sequence[Any] | BaseException] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._pool: Running | None = None
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._body, name="vllm-servers", daemon=True)
        self._ready = threading.Event()
        self._thread.start()
        while not self._ready.wait(_POLL_S):
            pass
        if self._pool is None:
            self.take()  # raises

    def submit(self, job: Job) -> None:
        pool = self._pool
        assert pool is not None
        with suppress(RuntimeError):  # the loop has ended by an error, which `take` raises
            self._loop.call_soon_threadsafe(pool.submit, job)

    def take(self) -> list[Any]:
        """What has arrived, or nothing after a moment. Raises the pool's error."""
        found: list[Any] = []
        wait = _POLL_S
        with suppress(queue.Empty):
            while True:
                each = self._out.get(timeout=wait) if wait else self._out.get_nowait()
                if isinstance(each, BaseException):
                    raise each
                found += each
                wait = 0.0
        return found

    def end(self) -> None:
        """Cancel what is under way and wait for the thread."""
        main = self._main
        if main is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(main.cancel)
        self._thread.join()

    def _body(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._main = self._loop.create_task(self._run())
            self._loop.run_until_complete(self._main)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._out.put(error)
        finally:
            self._ready.set()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _run(self) -> None:
        pool, close = await self._start(self._out.put)
        self._pool = pool
        self._ready.set()
        try:
            await pool.run()
        finally:
            await close()

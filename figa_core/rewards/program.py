"""Rates rows with a user's program, in several processes at once (`worker.py`).

A row whose process ends is rated again in a new one if that process had rated others: what they left behind,
such as a thread, may have ended it. A row that ends a new process has no value.
"""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Self

from figa_core.errors import InterruptedRunError
from figa_core.ports import RewardRequest, Rewards, RowFailure
from figa_core.processes import interruption
from figa_core.rewards.worker import Interpreter, ProgramSettings, ProgramWorker, RowError

MOST_PROCESSES = 8
_ROWS_AT_ONCE, _SECONDS_AT_MOST = 500, 2.0
_POLL_S = 0.1

_Rated = tuple[str, float] | RowFailure


def processes_here(asked: int | None) -> int:
    """The number of processes: as many as there are cores for this process, unless it is said."""
    return asked or min(MOST_PROCESSES, len(os.sched_getaffinity(0)))


def log_name(reward: str) -> str:
    """The name of the file with what the program of this reward prints."""
    return f"reward-{''.join(c if c.isalnum() or c in '-_' else '_' for c in reward)}.log"


class Program:
    """A context manager around the processes; satisfies what a `Scorer` does, for rows of text."""

    def __init__(
        self,
        settings: ProgramSettings,
        log: Path,
        *,
        processes: int = 1,
        interpreter: Interpreter | None = None,
    ) -> None:
        """`log` is the file that receives what the program prints; `interpreter` as of `ProgramWorker`."""
        self._settings, self._log, self._processes = settings, log, processes
        self._interpreter = interpreter
        self._asked: queue.Queue[RewardRequest | None] = queue.Queue()
        self._rated: queue.Queue[_Rated | BaseException] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._workers: set[ProgramWorker] = set()
        self._ending = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        for _thread in self._threads:
            self._asked.put(None)
        for worker in list(self._workers):
            worker.end()
        for thread in self._threads:
            thread.join()

    def score(self, requests: Iterable[RewardRequest]) -> Iterator[Rewards]:
        """Yield batches of values and failures, in any order, every two seconds or so.

        Raises:
            EngineError: the program cannot be imported or called.
        """
        rows, under_way = iter(requests), 0
        done: list[_Rated] = []
        yielded_at = time.monotonic()
        while True:
            for request in islice(rows, 2 * self._processes - under_way):
                self._asked.put(request)
                under_way += 1
                self._start_a_thread(under_way)
            if not under_way:
                break
            arrived = self._arrived()
            under_way -= len(arrived)
            done += arrived
            if done and (len(done) >= _ROWS_AT_ONCE or time.monotonic() - yielded_at > _SECONDS_AT_MOST):
                yield done
                done, yielded_at = [], time.monotonic()
        if done:
            yield done

    def _start_a_thread(self, wanted: int) -> None:
        if len(self._threads) < min(wanted, self._processes):
            self._threads.append(threading.Thread(target=self._work, name="reward-program", daemon=True))
            self._threads[-1].start()

    def _arrived(self) -> list[_Rated]:
        """What has arrived; raises what ended a thread."""
        found: list[_Rated] = []
        interruption.check()
        with contextlib.suppress(queue.Empty):
            first = self._rated.get(timeout=_POLL_S)
            while True:
                if isinstance(first, BaseException):
                    raise first
                found.append(first)
                first = self._rated.get_nowait()
        return found

    def _work(self) -> None:
        worker: ProgramWorker | None = None
        try:
            while (request := self._asked.get()) is not None:
                worker = worker or self._started()
                worker, outcome = self._outcome(worker, request)
                self._rated.put(outcome)
        except (Exception, InterruptedRunError) as error:
            if not self._ending:
                self._rated.put(error)
        finally:
            if worker is not None:
                self._end(worker)

    def _outcome(self, worker: ProgramWorker, request: RewardRequest) -> tuple[ProgramWorker | None, _Rated]:
        """The row's value or failure, and the process for the next row, if it is still there."""
        while True:
            others = worker.rated
            try:
                return worker, (request.subject_id, worker.rate(request))
            except RowError as error:
                if worker.is_there:
                    return worker, RowFailure(request.subject_id, error.reason)
                self._end(worker)
                if not (error.ended and others) or self._ending:
                    return None, RowFailure(request.subject_id, error.reason)
            worker = self._started()

    def _started(self) -> ProgramWorker:
        worker = ProgramWorker(self._settings, self._log, self._interpreter)
        self._workers.add(worker)
        return worker.__enter__()

    def _end(self, worker: ProgramWorker) -> None:
        worker.end()
        self._workers.discard(worker)

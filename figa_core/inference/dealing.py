"""Deals shards to workers as they get free; a worker that ends costs no more than the time of its shard.

A worker is a process on this machine (`vllm_process.py`) or a run on another one (`shard_runs.py`).
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from figa_core.errors import EngineError
from figa_core.processes import interruption

_POLL_S = 0.05
_LOSSES_MOST = 2  # workers that end at the same shard: another would end there too


class ShardWorker(Protocol):
    """Makes result shards of the shards that it is given, in their order.

    `name` is for messages.
    """

    @property
    def name(self) -> str: ...

    def is_ready(self) -> bool:
        """Whether it may be given a shard; False also for one that has not begun yet."""
        ...

    def give(self, shard: str) -> None: ...

    def result(self, shard: str) -> Path | None:
        """The whole result of a shard that it was given; None while there is none."""
        ...

    def trouble(self) -> str | None:
        """Why it can do nothing more; from then on it writes no result. None while it works."""
        ...


def deal(
    shards: Sequence[str], workers: Sequence[ShardWorker], tell: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[str, Path]]:
    """Each shard's name and result, once, in the order in which they are finished.

    A worker's shards without a result go to the others when it ends, and `tell` gets a line about it.

    Raises:
        EngineError: all workers have ended, or two at the same shard; the message is the last one's trouble.
        InterruptedRunError: this process was asked to stop.
    """
    dealer = _Dealer(shards, workers, tell)
    while dealer.is_at_work():
        dealer.give()
        finished = False
        for worker in dealer.workers:
            for found in dealer.collect(worker):
                finished = True
                dealer.give()  # before the caller takes its time
                yield found
        if not finished:
            interruption.check()
            interruption.sleep(_POLL_S)


class _Dealer:
    def __init__(
        self, shards: Sequence[str], workers: Sequence[ShardWorker], tell: Callable[[str], None]
    ) -> None:
        self._open, self._tell = deque(shards), tell
        self._held = {place: deque[str]() for place in range(len(workers))}
        self._living = dict(enumerate(workers))
        self._losses = Counter[str]()

    @property
    def workers(self) -> list[int]:
        return [*self._living]

    def is_at_work(self) -> bool:
        return bool(self._open) or any(self._held.values())

    def give(self) -> None:
        """One shard to each worker that has none. A second one goes there while enough are left for all, so
        that it has rows to work on while the last ones of its shard are drawn and its result is read.
        """
        for at_most in (0, 1):
            for place, worker in self._living.items():
                others = len(self._living) if at_most and len(self._living) > 1 else 0
                enough = len(self._open) > others
                if enough and len(self._held[place]) <= at_most and worker.is_ready():
                    shard = self._open.popleft()
                    self._held[place].append(shard)
                    worker.give(shard)

    def collect(self, place: int) -> Iterator[tuple[str, Path]]:
        """What a worker has finished. If it has ended, its other shards are open again."""
        worker, held = self._living[place], self._held[place]
        trouble = worker.trouble()  # asked first: a result from before its end counts
        while held and (path := worker.result(held[0])) is not None:
            yield held.popleft(), path
        if trouble is not None:
            self._lose(place, trouble)

    def _lose(self, place: int, trouble: str) -> None:
        worker, held = self._living.pop(place), self._held[place]
        if held:
            self._losses[held[0]] += 1
        fatal = any(count >= _LOSSES_MOST for count in self._losses.values())
        self._open.extendleft(reversed(held))
        held.clear()
        if fatal or (not self._living and self._open):
            raise EngineError(trouble)
        self._tell(f"{worker.name} has ended, and its rows go to the others: {trouble}")

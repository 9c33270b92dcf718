"""Draws the samples of one shard after the other, without a pause between them.

A batch of samples empties slowly: the longest one decides when it is done, and meanwhile the model works for
a few rows only. So the rows of the next shard follow as soon as it is there, and a shard is written when its
last row is done. This runs in vLLM's environment, but imports nothing of it.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from figa_core.inference.row_checks import failed


class DrawnShard(Protocol):
    """A shard of prompts on its way through the engine."""

    @property
    def prompts(self) -> Sequence[Sequence[int]]:
        """The token ids of each row."""
        ...

    @property
    def problems(self) -> Sequence[str | None]:
        """Why a row cannot be drawn, or None; one with a problem never reaches the engine."""
        ...

    def parameters(self, row: int, /) -> Any:
        """vLLM's SamplingParams of a row."""
        ...

    def write(self, found: Sequence[Any], /) -> None:
        """Write the shard; `found` has the engine's output of each row, or the reason why there is none."""
        ...


@dataclass(slots=True)
class _Open:
    """A shard with rows under way; `found` is None for these, and `left` their number."""

    shard: DrawnShard
    found: list[Any]
    left: int


class Stream:
    """Keeps an engine busy with shards. `llm` is vLLM's LLM, with no other user."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm
        self._under_way: dict[str, tuple[_Open, int]] = {}  # shard and row, by the ids of outputs

    def run(self, jobs: Iterable[Any], opened: Callable[[Any], DrawnShard]) -> None:
        """Draw the shard that `opened` makes of each job, until there are no more jobs.

        The engine may refuse a row by a ValueError, which becomes its reason. All other errors are raised.
        """
        waiting = _Waiting(jobs)
        while not waiting.ended or self._under_way:
            for job in waiting.take(wait=not self._under_way):
                self._begin(opened(job))
            for output in self._llm.llm_engine.step() if self._under_way else ():
                if output.finished:
                    begun, row = self._under_way.pop(output.request_id)
                    begun.found[row] = output
                    begun.left -= 1
                    _write_if_done(begun)

    def _begin(self, shard: DrawnShard) -> None:
        begun = _Open(shard, list(shard.problems), 0)
        rows = [row for row, problem in enumerate(shard.problems) if problem is None]
        try:
            self._enqueue(begun, rows)
        except ValueError:  # it has taken none of them then
            for row in rows:
                try:
                    self._enqueue(begun, [row])
                except ValueError as error:
                    begun.found[row] = failed(error)
        _write_if_done(begun)

    def _enqueue(self, begun: _Open, rows: list[int]) -> None:
        prompts = [{"prompt_token_ids": list(begun.shard.prompts[row])} for row in rows]
        parameters = [begun.shard.parameters(row) for row in rows]
        ids = self._llm.enqueue(prompts, parameters, use_tqdm=False) if rows else []
        for engine_id, row in zip(ids, rows, strict=True):
            # vLLM appends random characters to an id, and its outputs have the id without them.
            self._under_way[engine_id.partition("-")[0]] = (begun, row)
        begun.left += len(rows)


def _write_if_done(begun: _Open) -> None:
    if begun.left == 0:
        begun.shard.write(begun.found)


class _Waiting:
    """Jobs, read in a thread, so that work goes on while none has come."""

    def __init__(self, jobs: Iterable[Any]) -> None:
        self.ended = False
        self._come: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(jobs,), daemon=True).start()

    def take(self, *, wait: bool) -> Iterator[Any]:
        """The jobs that have come; with `wait`, at least one, unless there are no more."""
        while not self.ended and (wait or not self._come.empty()):
            job, wait = self._come.get(), False
            if isinstance(job, _End):
                self.ended = True
                if job.error is not None:
                    raise job.error
            else:
                yield job

    def _read(self, jobs: Iterable[Any]) -> None:
        try:
            for job in jobs:
                self._come.put(job)
        except BaseException as error:  # raised where the jobs are wanted
            self._come.put(_End(error))
        else:
            self._come.put(_End())


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None

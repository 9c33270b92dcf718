"""Generation and scoring by runs on other machines, to which shards are dealt through `shard_folder`.

What starts these runs is not known here: `ShardRuns` is Prefect in a real run (`flows/server/shard_runs.py`).
"""

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

from figa_core.inference import exchange
from figa_core.inference.choice import Work
from figa_core.inference.dealing import deal
from figa_core.inference.engine import Generating, Scoring, Tell
from figa_core.inference.shard_folder import (
    LOST_AFTER_S,
    DealtWork,
    IsBehind,
    LifeWatch,
    ShardFolder,
    WorkerFolder,
    never_behind,
    new_folder,
    signs_of_life,
)
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest

_R = TypeVar("_R")


class ShardRun(Protocol):
    """A run elsewhere that is to call `shard_work.work_on_shards`."""

    @property
    def name(self) -> str: ...

    def ended(self) -> str | None:
        """How it has ended, in words; None while it may still begin or work."""
        ...

    def cancel(self) -> None:
        """It is not needed any more; one that has begun ends by itself."""
        ...


class ShardRuns(Protocol):
    def start(self, task: str, folder: Path, number: int) -> ShardRun:
        """Start worker `number` for a folder of the task "generate" or "score"; it begins when a machine is
        free. Raises FigaError if that is impossible.
        """
        ...


Exchange = Callable[[Path, Path], AbstractContextManager[IsBehind]]
"""Given a folder and the model of its shards: while the context lasts, the runs see what the folder has, and
their results get into it.
"""


def shared_disk(folder: Path, model: Path) -> AbstractContextManager[IsBehind]:  # noqa: ARG001 - an Exchange
    """All machines have the folder and the model under the same paths."""
    return nullcontext(never_behind)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where shards go.

    Attributes:
        workers: the most runs at once.
        runs: starts them.
        fingerprint_of: the hash of a model directory's files.
        lost_after_s: a worker without a sign of life for so long counts as dead.
        exchange: how the folder gets to their machines.
    """

    workers: int
    runs: ShardRuns
    fingerprint_of: Callable[[Path], str]
    lost_after_s: float = LOST_AFTER_S
    exchange: Exchange = shared_disk

    def generator(
        self, engine: str, settings: Generating, work: Work, scratch: Path, tell: Tell
    ) -> "DealtGenerator":
        return DealtGenerator(_Dealt(self, engine, settings, work, scratch, tell))

    def scorer(self, engine: str, settings: Scoring, work: Work, scratch: Path, tell: Tell) -> "DealtScorer":
        return DealtScorer(_Dealt(self, engine, settings, work, scratch, tell))


@dataclass(frozen=True, slots=True)
class _Dealt:
    elsewhere: Elsewhere
    engine: str
    settings: Generating | Scoring
    work: Work
    scratch: Path
    tell: Tell


@dataclass(frozen=True, slots=True)
class DealtGenerator:
    """ports.Generator by runs elsewhere."""

    dealt: _Dealt

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation | RowFailure]]:
        """See `ports.Generator`. Raises EngineError when no run is left, FigaError if none can be started or
        what carries the folder fails for too long.
        """
        return _run(self.dealt, requests, exchange.GENERATION_REQUESTS, exchange.read_generations)


@dataclass(frozen=True, slots=True)
class DealtScorer:
    """ports.Scorer by runs elsewhere: raw logits, no sigmoid."""

    dealt: _Dealt

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float] | RowFailure]]:
        """See `ports.Scorer`. Raises EngineError when no run is left, FigaError if none can be started or
        what carries the folder fails for too long.
        """
        return _run(self.dealt, requests, exchange.SCORING_REQUESTS, exchange.read_scores)


def _run(
    dealt: _Dealt,
    requests: Iterable[GenerationRequest | ScoringRequest],
    schema: pa.Schema,
    read: Callable[[Path], list[_R]],
) -> Iterator[list[_R]]:
    folder = new_folder(dealt.scratch, uuid.uuid4().hex[:12])
    shards = exchange.write_request_shards(
        folder.input, requests, dealt.settings.rows_per_shard, schema, workers=dealt.elsewhere.workers
    )
    if shards:
        with signs_of_life(folder.dealer):
            yield from _dealt(dealt, folder, shards, read)
    shutil.rmtree(folder.path, ignore_errors=True)


def _dealt(
    dealt: _Dealt, folder: ShardFolder, shards: list[str], read: Callable[[Path], list[_R]]
) -> Iterator[list[_R]]:
    elsewhere, count = dealt.elsewhere, min(dealt.elsewhere.workers, len(shards))
    folder.write_work(_part_of_one(dealt, count))
    with elsewhere.exchange(folder.path, dealt.settings.model) as is_behind:
        yield from _dealt_to(count, dealt, replace(folder, is_behind=is_behind), shards, read)


def _dealt_to(
    count: int, dealt: _Dealt, folder: ShardFolder, shards: list[str], read: Callable[[Path], list[_R]]
) -> Iterator[list[_R]]:
    elsewhere = dealt.elsewhere
    runs: list[ShardRun] = []
    try:
        for number in range(count):
            run = elsewhere.runs.start(dealt.settings.task, folder.path, number)
            runs.append(run)  # at once: those before it are cancelled if it cannot be started
        workers = [
            RemoteWorker(run, folder.worker(number), elsewhere.lost_after_s, folder.is_behind)
            for number, run in enumerate(runs)
        ]
        for _, path in deal(shards, workers, dealt.tell):
            yield read(path)
    finally:  # also if the caller stops early
        folder.end()
        for run in runs:
            run.cancel()


def _part_of_one(dealt: _Dealt, workers: int) -> DealtWork:
    settings, work = dealt.settings, dealt.work
    return DealtWork(
        dealt.engine,
        replace(settings, servers=None),  # their key is nothing for a file
        replace(work, rows=-(-work.rows // workers)),
        dealt.elsewhere.fingerprint_of(settings.model),
    )


class RemoteWorker:
    """dealing.ShardWorker: a run elsewhere and its folder."""

    def __init__(
        self,
        run: ShardRun,
        folder: WorkerFolder,
        lost_after_s: float,
        is_behind: IsBehind = never_behind,
    ) -> None:
        self._run, self._folder, self._lost_after_s = run, folder, lost_after_s
        self._is_behind = is_behind
        self._life: LifeWatch | None = None
        self._damaged: str | None = None

    @property
    def name(self) -> str:
        return f"{self._run.name} ({self._folder.where() or 'not begun'})"

    def is_ready(self) -> bool:
        if self._life is None and self._folder.where() is not None:
            self._life = LifeWatch(self._folder.alive, self._lost_after_s, self._is_behind)
        return self._life is not None

    def give(self, shard: str) -> None:
        self._folder.order(shard)

    def result(self, shard: str) -> Path | None:
        if self._damaged is not None:
            return None
        try:
            return self._folder.finished(shard)
        except ValueError as error:
            self._damaged = str(error)
            return None

    def trouble(self) -> str | None:
        """See `ShardWorker`. Raises: see `IsBehind`."""
        if self._damaged is not None:
            return f"{self.name}: {self._damaged}"
        if (failure := self._folder.failure()) is not None:
            return f"{self.name}: {failure}"
        is_lost = self._life is not None and self._life.is_lost()  # asked always: what is behind resets it
        if self._is_behind():
            return None  # what it has finished may be on its way
        if (how := self._run.ended()) is not None:
            return f"{self.name}: {how}"
        if is_lost:
            return (
                f"{self.name}: no sign of life for {self._lost_after_s:.0f} s; its machine may have lost the "
                "workspace's disk."
            )
        return None

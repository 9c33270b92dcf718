"""A worker's side of `shard_folder`: does the shards that it is ordered to do, until it is told to end."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.inference import exchange
from figa_core.inference.engine import Generating
from figa_core.inference.engines import Engines
from figa_core.inference.ordered_work import check_same_model, read_ordered
from figa_core.inference.shard_folder import LOST_AFTER_S, DealtWork, LifeWatch, ShardFolder, signs_of_life
from figa_core.processes import interruption

_POLL_S = 0.2


def work_on_shards(
    folder: ShardFolder,
    number: int,
    fingerprint_of: Callable[[Path], str],
    tell: Callable[[str], None] = lambda _: None,
    *,
    lost_after_s: float = LOST_AFTER_S,
) -> int:
    """Do shards as worker `number`; returns how many. The engine starts at the first order.

    Args:
        folder: where the shards are dealt.
        number: of this worker.
        fingerprint_of: the hash of a model directory's files, as they are on this machine.
        tell: gets a line about what takes a while.
        lost_after_s: without a sign of life from the dealer for so long, the worker ends.

    Raises:
        EngineError: the dealer is gone, the model is another one here, or the engine failed.
        WorkspaceError: see `IsBehind`.
        OSError: the folder cannot be read or written.
    """
    if folder.has_ended():  # its turn came after the work was done
        return 0
    mine = folder.worker(number)
    mine.begin()
    try:
        with signs_of_life(mine.alive), Engines(tell) as engines:
            dealer = LifeWatch(folder.dealer, lost_after_s, folder.is_behind)
            return _work(folder, number, engines, fingerprint_of, dealer)
    except BaseException as error:
        mine.fail(str(error) or type(error).__name__)
        raise


def _work(
    folder: ShardFolder,
    number: int,
    engines: Engines,
    fingerprint_of: Callable[[Path], str],
    dealer: LifeWatch,
) -> int:
    mine, work, count = folder.worker(number), read_ordered(folder.path, folder.read_work), 0
    checked = False
    while not folder.has_ended():
        if dealer.is_lost():
            raise EngineError(
                f"the run that deals the shards in {folder.path} shows no sign of life; it may have been "
                "killed. Start it again: it continues with what is stored."
            )
        orders = mine.orders()
        if orders and not checked:
            check_same_model(work.settings.model, work.fingerprint, fingerprint_of)
            checked = True
        for shard in orders[:1]:
            if _do(folder, number, work, engines, shard):
                count += 1
        if not orders:
            interruption.check()
            interruption.sleep(_POLL_S)
    return count


def _do(folder: ShardFolder, number: int, work: DealtWork, engines: Engines, shard: str) -> bool:
    """Whether the shard was finished, rather than given up because nothing more is needed."""
    mine, source = folder.worker(number), folder.input / shard
    scratch = mine.path / "scratch"
    settings = work.settings
    batches: Iterable[Sequence[Any]]
    write: Callable[[list[Any]], None]
    if isinstance(settings, Generating):
        generator = engines.generator(work.engine, settings, work.work, scratch)
        batches = generator.generate(exchange.read_generation_requests(source))
        write = partial(exchange.write_generations, mine.result(shard))
    else:
        scorer = engines.scorer(work.engine, settings, work.work, scratch)
        batches = scorer.score(exchange.read_scoring_requests(source))
        write = partial(exchange.write_scores, mine.result(shard))
    rows: list[Any] = []
    for batch in batches:
        rows += batch
        if folder.has_ended():
            return False
    with suppress(FileNotFoundError):  # the folder is removed once nothing more is needed
        write(rows)
        mine.finish(shard, len(rows))
        return True
    return False

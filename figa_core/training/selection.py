"""Which pairs of a shard set a training has: those that it trains on, and those that judge it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from figa_core.shards.manifest import read_manifest
from figa_core.shards.read import iter_tables
from figa_core.training.batches import drawn_pairs
from figa_core.training.held_out import drawn_apart, pairs_apart
from figa_core.training.job import TrainingJob


class Selection(NamedTuple):
    """Places in the shard set, in order. `trained` is None for all, and `apart` is None for none."""

    trained: npt.NDArray[np.int64] | None
    apart: npt.NDArray[np.int64] | None


def select_pairs(job: TrainingJob) -> Selection:
    """The pairs of a job. `pairs_limit` counts both kinds.

    Raises:
        StorageError: the shard set is damaged.
    """
    manifest = read_manifest(job.shards)
    if manifest is None:  # then reading the pairs raises
        return Selection(None, None)
    limit, settings = job.pairs_limit, job.training.held_out
    drawn = None if limit is None else drawn_pairs(limit, pairs=manifest.pairs, seed=job.training.seed)
    if not settings.share:
        return Selection(drawn, None)
    ids = np.array(
        [pair_id for table in iter_tables(job.shards) for pair_id in table.column("pair_id").to_pylist()]
    )
    places = np.arange(len(ids)) if drawn is None else drawn
    apart = drawn_apart(ids[places].tolist(), pairs_apart(settings, len(places)))
    is_apart = np.isin(ids[places], list(apart))
    return Selection(places[~is_apart], places[is_apart])

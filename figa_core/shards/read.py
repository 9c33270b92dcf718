"""Reads the pairs of a shard set, checking the hash of every shard."""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.errors import StorageError
from figa_core.file_hashes import read_verified
from figa_core.records import MARKED, WeighedPair
from figa_core.shards.manifest import MANIFEST_NAME, Shard, read_manifest, schema_with

_SHARDS_KEPT = 4


def find_pairs(directory: Path, pair_ids: Sequence[str]) -> list[WeighedPair]:
    """The pairs with these ids, in this order; ids that are not in the set are skipped.

    Raises:
        StorageError: the set is incomplete or damaged.
    """
    wanted = set(pair_ids)
    found: dict[str, WeighedPair] = {}
    for table in iter_tables(directory):
        mask = pa.array([pair_id in wanted for pair_id in table.column("pair_id").to_pylist()])
        found |= {pair.pair_id: pair for pair in pairs_of(table.filter(mask))}
    return [found[pair_id] for pair_id in pair_ids if pair_id in found]


def iter_tables(directory: Path) -> Iterator[pa.Table]:
    """Stream a complete set as Arrow tables, one per shard; all have the same columns (`schema_with`).

    Raises:
        StorageError: the set is incomplete or damaged.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        raise StorageError(
            f"{directory}: no complete shard set here ({MANIFEST_NAME} is missing). Weigh first."
        )
    expected: list[str] = []
    for shard in manifest.shards:
        path = directory / shard.file
        table = _read_shard(path, shard)
        expected = expected or schema_with(table.schema.names).names  # as in the shards before it
        if table.schema.names != expected or table.num_rows != shard.pairs:
            raise StorageError(
                f"{path}: not the shard that the manifest describes. Remove {directory} and weigh again."
            )
        yield table


def pairs_of(table: pa.Table) -> Iterator[WeighedPair]:
    """The rows of a table of `iter_tables`."""
    names = table.schema.names
    columns = [table.column(name).to_pylist() for name in names]
    for row in zip(*columns, strict=True):
        fields: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
        yield WeighedPair(**dict(zip(names, fields, strict=True)))


def has_column(directory: Path, name: str) -> bool:
    """Whether a complete set has this optional column.

    Raises:
        StorageError: the set is incomplete or damaged.
    """
    return any(name in table.schema.names for table in islice(iter_tables(directory), 1))


def _read_shard(path: Path, shard: Shard) -> pa.Table:
    """Read the file once, into memory: the bytes that are hashed are the bytes that are parsed."""
    try:
        return pq.read_table(pa.BufferReader(read_verified(path, shard.sha256)))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StorageError(
            f"{path}: damaged shard ({error}). Check the disk, remove {path.parent} and weigh again."
        ) from error


def _marked(table: pa.Table) -> list[bool]:
    """Whether a token of each row has one of the classes `MARKED`."""
    marked = np.zeros(table.num_rows, bool)
    for name in ("response_classes", "revision_classes"):
        classes = table.column(name).combine_chunks()
        hits = np.isin(classes.flatten().to_numpy(), [int(each) for each in MARKED])
        marked[classes.value_parent_indices().to_numpy()[hits]] = True
    return marked.tolist()


class PairsByPlace:
    """The pairs of a complete set by their places, in its order. Several threads may read.

    The shards read last are kept in memory, `_SHARDS_KEPT` of them.

    Attributes:
        ids: of the pairs.
        marked: whether the scheme marks a token of the pair.

    Raises:
        StorageError: the set is incomplete or damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._tables: dict[int, pa.Table] = {}
        self.ids: list[str] = []
        self.marked: list[bool] = []
        self._starts: list[int] = []
        for table in iter_tables(directory):
            self._starts.append(len(self.ids))
            self.ids += table.column("pair_id").to_pylist()
            self.marked += _marked(table)
        manifest = read_manifest(directory)
        self._shards = manifest.shards if manifest else ()
        self._places = {pair_id: place for place, pair_id in enumerate(self.ids)}

    def place(self, pair_id: str) -> int | None:
        """Where the pair is; None if it is not in the set."""
        return self._places.get(pair_id)

    def __getitem__(self, place: int) -> WeighedPair:
        number = bisect_right(self._starts, place) - 1
        [pair] = pairs_of(self._shard(number).slice(place - self._starts[number], 1))
        return pair

    def _shard(self, number: int) -> pa.Table:
        with self._lock:
            table = self._tables.pop(number, None)
            if table is None:
                shard = self._shards[number]
                table = _read_shard(self._directory / shard.file, shard)
            self._tables[number] = table  # the last one
            while len(self._tables) > _SHARDS_KEPT:
                del self._tables[next(iter(self._tables))]
        return table

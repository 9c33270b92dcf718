"""Writes a shard set: pairs stream into Parquet files, then the manifest is written."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.errors import NothingToDoError, StorageError
from figa_core.files import replacing
from figa_core.ids import file_fingerprint
from figa_core.records import WeighedPair
from figa_core.shards.manifest import (
    BEST,
    FACTORS,
    Shard,
    ShardManifest,
    read_manifest,
    schema_with,
    write_manifest,
)

_ROW_GROUP = 1000
_ID_COLUMNS = ("prompt_ids", "response_ids", "revision_ids", "reference_ids", BEST)


def write_shards(
    directory: Path,
    pairs: Iterable[WeighedPair],
    *,
    shard_set_id: str,
    tokenizer_hash: str,
    template_hash: str,
    scheme: str,
    max_length: int,
    pairs_per_shard: int,
    with_factors: bool = False,
    with_best: bool = False,
) -> ShardManifest:
    """Stream `pairs` into shards of `pairs_per_shard` rows, with a thousand pairs in memory at a time.

    `with_factors`, `with_best`: their `revision_factors`, or their `best_ids`, are stored too.

    If a complete set with the same id exists, its manifest is returned and `pairs` is not read.

    Raises:
        NothingToDoError: `pairs` is empty.
        StorageError: the directory cannot be written, or holds another complete set.
    """
    existing = read_manifest(directory)
    if existing is not None:
        if existing.shard_set_id != shard_set_id:
            raise StorageError(
                f"{directory}: holds shard set {existing.shard_set_id}, not {shard_set_id}. "
                "Write to another directory, or remove this one."
            )
        return existing
    try:
        optional = [*[FACTORS] * with_factors, *[BEST] * with_best]
        totals, shards = _write_files(directory, pairs, pairs_per_shard, schema_with(optional))
        manifest = ShardManifest(
            shard_set_id=shard_set_id,
            tokenizer_hash=tokenizer_hash,
            template_hash=template_hash,
            scheme=scheme,
            max_length=max_length,
            shards=tuple(shards),
            **asdict(totals),
        )
        write_manifest(directory, manifest)
    except OSError as error:
        raise StorageError(
            f"{directory}: cannot write the shard set: {error}. Free space or fix the permissions."
        ) from error
    return manifest


@dataclass(frozen=True, slots=True)
class _Totals:
    """The counts of a manifest, under their names there."""

    pairs: int = 0
    longest_sequence: int = 0
    largest_id: int = 0
    canonical_pairs: int = 0

    def plus(self, table: pa.Table) -> "_Totals":
        names = [name for name in _ID_COLUMNS if name in table.schema.names]
        prompts, *answers = (table.column(name).chunk(0) for name in names)
        lengths = np.max([np.diff(column.offsets.to_numpy()) for column in answers], axis=0)
        return _Totals(
            self.pairs + table.num_rows,
            max(self.longest_sequence, int((np.diff(prompts.offsets.to_numpy()) + lengths).max())),
            max(self.largest_id, *(int(c.flatten().to_numpy().max(initial=0)) for c in (prompts, *answers))),
            self.canonical_pairs + table.column("canonical").to_pylist().count(True),
        )


def _write_files(
    directory: Path, pairs: Iterable[WeighedPair], pairs_per_shard: int, schema: pa.Schema
) -> tuple[_Totals, list[Shard]]:
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob("pairs-*.parquet*"):
        leftover.unlink()
    totals = _Totals()
    shards: list[Shard] = []
    rows = iter(pairs)
    while (first := next(rows, None)) is not None:
        shard = islice(chain((first,), rows), pairs_per_shard)
        path = directory / f"pairs-{len(shards):05d}.parquet"
        before = totals.pairs
        totals = _write_shard(path, shard, totals, schema)
        shards.append(Shard(path.name, totals.pairs - before, path.stat().st_size, file_fingerprint(path)))
    if not shards:
        raise NothingToDoError(f"{directory}: no pair is left to weigh, so there is nothing to train on.")
    return totals, shards


def _write_shard(path: Path, pairs: Iterator[WeighedPair], totals: _Totals, schema: pa.Schema) -> _Totals:
    with (
        replacing(path, durable=True) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        while group := list(islice(pairs, _ROW_GROUP)):
            table = pa.table([_column(group, field) for field in schema], schema=schema)
            writer.write_table(table)
            totals = totals.plus(table)
    return totals


def _column(pairs: list[WeighedPair], field: pa.Field) -> pa.Array:
    rows = [getattr(pair, field.name) for pair in pairs]
    if field.name == FACTORS:
        rows = [
            (1.0,) * len(pair.revision_ids) if row is None else row
            for pair, row in zip(pairs, rows, strict=True)
        ]
    elif field.name == BEST:
        rows = [row or () for row in rows]
    if not pa.types.is_list(field.type):
        return pa.array(rows, type=field.type)
    # Flat values and offsets are twice as fast as nested Python sequences.
    offsets = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    values = np.fromiter(
        chain.from_iterable(rows), dtype=field.type.value_type.to_pandas_dtype(), count=int(offsets[-1])
    )
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=field.type)

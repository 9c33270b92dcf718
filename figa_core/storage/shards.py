"""Weighed pairs as Parquet shards: what a training reads, on this machine or on another.

A shard set is a directory of ``pairs-00000.parquet`` … and ``manifest.json``. The manifest is written last:
its existence means that the set is complete. It names tokenizer and chat template by their hashes, and a
training with another tokenizer refuses the set. It holds the SHA-256 of every shard and of itself, which is
compared whenever a shard is read; sets of earlier releases have none and are read as they are.
Classes, not weights, are stored (`figa_core.weighting`).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.errors import NothingToDoError, StorageError
from figa_core.files import replacing, write_whole
from figa_core.ids import file_fingerprint
from figa_core.records import WeighedPair
from figa_core.storage.file_hashes import bytes_hash, sealed, unsealed

MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 2
_ROW_GROUP = 1000

_IDS = pa.list_(pa.field("item", pa.int32(), nullable=False))
_CLASSES = pa.list_(pa.field("item", pa.int8(), nullable=False))
SCHEMA = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("prompt_ids", _IDS, nullable=False),
        pa.field("response_ids", _IDS, nullable=False),
        pa.field("response_classes", _CLASSES, nullable=False),
        pa.field("revision_ids", _IDS, nullable=False),
        pa.field("revision_classes", _CLASSES, nullable=False),
        pa.field("reference_ids", _IDS, nullable=False),
        pa.field("response_reward", pa.float64(), nullable=False),
        pa.field("revision_reward", pa.float64(), nullable=False),
        pa.field("scale", pa.float64(), nullable=False),
        pa.field("canonical", pa.bool_(), nullable=False),
    ]
)

_ID_COLUMNS = ("prompt_ids", "response_ids", "revision_ids", "reference_ids")


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file of a set: its name, rows, bytes, and hash (None in sets of earlier releases)."""

    file: str
    pairs: int
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ShardManifest:
    """What a complete shard set says about itself.

    `longest_sequence` is the most tokens of a prompt with one of its answers, `largest_id` the largest
    token id, `canonical_pairs` how many responses the model generated as their text is tokenized.
    """

    shard_set_id: str
    tokenizer_hash: str
    template_hash: str
    scheme: str
    max_length: int
    pairs: int
    longest_sequence: int
    largest_id: int
    canonical_pairs: int
    shards: tuple[Shard, ...]
    version: int = FORMAT_VERSION


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
) -> ShardManifest:
    """Stream `pairs` into shards of `pairs_per_shard` rows; memory holds a thousand pairs.

    A complete set with the same id is returned as it is, without reading `pairs`.

    Raises:
        NothingToDoError: `pairs` is empty.
        StorageError: the directory cannot be written, or holds another complete set.
    """
    present = read_manifest(directory)
    if present is not None:
        if present.shard_set_id != shard_set_id:
            raise StorageError(
                f"{directory}: holds shard set {present.shard_set_id}, not {shard_set_id}. "
                "Write to another directory, or remove this one."
            )
        return present
    try:
        totals, shards = _write_files(directory, pairs, pairs_per_shard)
        manifest = ShardManifest(
            shard_set_id=shard_set_id,
            tokenizer_hash=tokenizer_hash,
            template_hash=template_hash,
            scheme=scheme,
            max_length=max_length,
            pairs=totals.pairs,
            longest_sequence=int(totals.longest),
            largest_id=int(totals.largest_id),
            canonical_pairs=totals.canonical,
            shards=tuple(shards),
        )
        body = json.dumps(sealed(asdict(manifest)), indent=2).encode()
        write_whole(directory / MANIFEST_NAME, body, durable=True)
    except OSError as error:
        raise StorageError(
            f"{directory}: cannot write the shard set: {error}. Free space or fix the permissions."
        ) from error
    return manifest


def read_manifest(directory: Path) -> ShardManifest | None:
    """The manifest of a complete set, None where the set is missing or unfinished.

    Raises:
        StorageError: the manifest is damaged, or a shard it names is missing or of another size.
    """
    path = directory / MANIFEST_NAME
    try:
        fields = unsealed(json.loads(path.read_text(encoding="utf-8")))
        shards = tuple(Shard(**shard) for shard in fields.pop("shards"))
        manifest = ShardManifest(**fields, shards=shards)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(
            f"{path}: damaged manifest ({error}). Remove {directory} and weigh again."
        ) from error
    if manifest.version != FORMAT_VERSION:
        raise StorageError(
            f"{path}: format version {manifest.version}, this release reads {FORMAT_VERSION}. "
            f"Remove {directory} and weigh again."
        )
    for shard in shards:
        file = directory / shard.file
        size = file.stat().st_size if file.is_file() else None
        if size != shard.size:
            found = "is missing" if size is None else f"has {size} bytes, the manifest says {shard.size}"
            raise StorageError(f"{file}: {found}. Remove {directory} and weigh again.")
    return manifest


def iter_pairs(directory: Path) -> Iterator[WeighedPair]:
    """Stream the pairs of a complete set, in the order in which they were written.

    Raises:
        StorageError: the set is incomplete or damaged.
    """
    for table in iter_tables(directory):
        yield from _pairs_of(table)


def find_pairs(directory: Path, pair_ids: Sequence[str]) -> list[WeighedPair]:
    """The pairs with these ids, in the order asked for; those that are not there are left out.

    Raises:
        StorageError: the set is incomplete or damaged.
    """
    wanted = set(pair_ids)
    found: dict[str, WeighedPair] = {}
    for table in iter_tables(directory):
        mask = pa.array([pair_id in wanted for pair_id in table.column("pair_id").to_pylist()])
        found |= {pair.pair_id: pair for pair in _pairs_of(table.filter(mask))}
    return [found[pair_id] for pair_id in pair_ids if pair_id in found]


def iter_tables(directory: Path) -> Iterator[pa.Table]:
    """Stream a complete set as Arrow tables, one a shard; columns as in `SCHEMA`.

    Raises:
        StorageError: the set is incomplete or damaged.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        raise StorageError(
            f"{directory}: no complete shard set here ({MANIFEST_NAME} is missing). Weigh first."
        )
    for shard in manifest.shards:
        path = directory / shard.file
        table = _read_shard(path, shard)
        if table.schema.names != SCHEMA.names or table.num_rows != shard.pairs:
            raise StorageError(
                f"{path}: not the shard that the manifest describes. Remove {directory} and weigh again."
            )
        yield table


def _read_shard(path: Path, shard: Shard) -> pa.Table:
    """Read once, into memory: what is hashed is what is parsed, and hashing costs no second read."""
    try:
        body = path.read_bytes()
        if shard.sha256 is not None and bytes_hash(body) != shard.sha256:
            raise StorageError(
                f"{path}: damaged shard: its content is not what was written. Check the disk, remove "
                f"{path.parent} and weigh again."
            )
        return pq.read_table(pa.BufferReader(body))
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"{path}: damaged shard ({error}). Remove {path.parent} and weigh again."
        ) from error


def _pairs_of(table: pa.Table) -> Iterator[WeighedPair]:
    columns = [table.column(name).to_pylist() for name in SCHEMA.names]
    for row in zip(*columns, strict=True):
        fields: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
        yield WeighedPair(*fields)


@dataclass(frozen=True, slots=True)
class _Totals:
    pairs: int = 0
    longest: int = 0
    largest_id: int = 0
    canonical: int = 0

    def plus(self, table: pa.Table) -> "_Totals":
        prompts, *answers = (table.column(name).chunk(0) for name in _ID_COLUMNS)
        lengths = np.max([np.diff(column.offsets.to_numpy()) for column in answers], axis=0)
        return _Totals(
            self.pairs + table.num_rows,
            max(self.longest, int((np.diff(prompts.offsets.to_numpy()) + lengths).max())),
            max(self.largest_id, *(c.flatten().to_numpy().max(initial=0) for c in (prompts, *answers))),
            self.canonical + table.column("canonical").to_pylist().count(True),
        )


def _write_files(
    directory: Path, pairs: Iterable[WeighedPair], pairs_per_shard: int
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
        totals = _write_shard(path, shard, totals)
        shards.append(Shard(path.name, totals.pairs - before, path.stat().st_size, file_fingerprint(path)))
    if not shards:
        raise NothingToDoError(f"{directory}: no pair is left to weigh, so there is nothing to train on.")
    return totals, shards


def _write_shard(path: Path, pairs: Iterator[WeighedPair], totals: _Totals) -> _Totals:
    with (
        replacing(path, durable=True) as file,
        pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer,
    ):
        while group := list(islice(pairs, _ROW_GROUP)):
            table = _table(group)
            writer.write_table(table)
            totals = totals.plus(table)
    return totals


def _table(pairs: list[WeighedPair]) -> pa.Table:
    return pa.table([_column(pairs, field) for field in SCHEMA], schema=SCHEMA)


def _column(pairs: list[WeighedPair], field: pa.Field) -> pa.Array:
    rows = [getattr(pair, field.name) for pair in pairs]
    if not pa.types.is_list(field.type):
        return pa.array(rows, type=field.type)
    # Flat values and offsets: twice as fast as handing over nested Python sequences.
    offsets = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    values = np.fromiter(
        chain.from_iterable(rows), dtype=field.type.value_type.to_pandas_dtype(), count=int(offsets[-1])
    )
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=field.type)

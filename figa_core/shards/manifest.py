"""Weighed pairs as Parquet shards: what a training reads, on this machine or on another.

A shard set is a directory of ``pairs-00000.parquet`` … and ``manifest.json``. The manifest is written last:
its existence means that the set is complete. It holds the hashes of the tokenizer and the chat template, so
that a training with other ones refuses the set, and the SHA-256 of every shard and of itself, which are
checked on every read. Sets of earlier releases have no such hashes and are not checked.

Shards store classes, not weights (`figa_core.weighting`).
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from figa_core.errors import StorageError
from figa_core.file_hashes import read_sealed, write_sealed

MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 2

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
_FACTORS = pa.list_(pa.field("item", pa.float32(), nullable=False))
FACTORS = "revision_factors"
"""Column of sets whose weights are graded: what α is multiplied by at each token of Ỹ."""
BEST = "best_ids"
"""Column of sets for objectives on the best sample of a prompt: its ids, once for each prompt."""
_OPTIONAL = (pa.field(FACTORS, _FACTORS, nullable=False), pa.field(BEST, _IDS, nullable=False))


def schema_with(optional: Collection[str]) -> pa.Schema:
    """The columns of a set that has these optional ones."""
    schema = SCHEMA
    for field in _OPTIONAL:
        if field.name in optional:
            schema = schema.append(field)
    return schema


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file of a set: its name, rows, bytes, and hash (None in sets of earlier releases)."""

    file: str
    pairs: int
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ShardManifest:
    """Describes a complete shard set.

    `longest_sequence` counts the tokens of a prompt with one of its answers, `largest_id` is the largest
    token id, and `canonical_pairs` counts the responses that were sampled with the same tokens as the
    tokenizer makes of their text.
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


def read_manifest(directory: Path) -> ShardManifest | None:
    """The manifest of a complete set; None if the set is missing or unfinished.

    Raises:
        StorageError: the manifest is damaged, or a shard is missing or has another size.
    """
    path = directory / MANIFEST_NAME
    try:
        fields = read_sealed(path)
        shards = tuple(Shard(**shard) for shard in fields.pop("shards"))
        manifest = ShardManifest(**fields, shards=shards)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
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


def write_manifest(directory: Path, manifest: ShardManifest) -> None:
    """Write the manifest, which completes the set. Raises OSError."""
    write_sealed(directory / MANIFEST_NAME, asdict(manifest))

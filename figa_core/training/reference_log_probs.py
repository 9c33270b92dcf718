"""Log-probabilities of a reference model, kept beside the shards so that no training holds two models.

    SHARDS/log-probs/ID/log-probs.parquet    a row for every pair of the set, in the set's order
    SHARDS/log-probs/ID/manifest.json        written last: its existence means that the file is complete

A row has the pair's id and, for each requested answer, a list with the log-probability of every token. The id
hashes the model, the shard set and the answers, so trainings that need the same values share them.
`reference_pass.py` computes them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.errors import StorageError
from figa_core.file_hashes import read_sealed, read_verified, write_sealed
from figa_core.files import replacing
from figa_core.ids import file_fingerprint
from figa_core.training.objectives.base import Answer

_FILE = "log-probs.parquet"
_MANIFEST = "manifest.json"
_VERSION = 1
_LOG_PROBS = pa.list_(pa.field("item", pa.float32(), nullable=False))


@dataclass(frozen=True, slots=True)
class LogProbsManifest:
    """Describes a complete directory; `sha256_of_file` is the hash of its Parquet file."""

    log_probs_id: str
    answers: tuple[Answer, ...]
    pairs: int
    sha256_of_file: str
    version: int = _VERSION


def directory_of(shards: Path, log_probs_id: str) -> Path:
    """Below the shard set, so that they are deleted with it."""
    return shards / "log-probs" / log_probs_id


def schema_of(answers: Iterable[Answer]) -> pa.Schema:
    """The columns of the Parquet file."""
    lists = [pa.field(answer, _LOG_PROBS, nullable=False) for answer in answers]
    return pa.schema([pa.field("pair_id", pa.string(), nullable=False), *lists])


def read_manifest(directory: Path) -> LogProbsManifest | None:
    """The manifest; None if the log-probabilities are missing or unfinished.

    Raises:
        StorageError: it is damaged.
    """
    path = directory / _MANIFEST
    try:
        fields = read_sealed(path)
        manifest = LogProbsManifest(**{**fields, "answers": tuple(fields["answers"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, str(error)) from error
    if manifest.version != _VERSION:
        raise _damaged(path, f"format version {manifest.version}, this release reads {_VERSION}")
    return manifest


def write(directory: Path, answers: tuple[Answer, ...], tables: Iterator[pa.Table]) -> LogProbsManifest:
    """Stream tables of `schema_of(answers)` into the file, a row group each, then write the manifest.

    Raises:
        StorageError: a file cannot be written.
    """
    path, pairs = directory / _FILE, 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=True) as file, pq.ParquetWriter(file, schema_of(answers)) as writer:
            for table in tables:
                writer.write_table(table)
                pairs += table.num_rows
        manifest = LogProbsManifest(directory.name, answers, pairs, file_fingerprint(path))
        write_sealed(directory / _MANIFEST, asdict(manifest))
    except OSError as error:
        raise StorageError(
            f"{directory}: cannot write the reference model's log-probabilities: {error}. Free space or fix "
            "the permissions."
        ) from error
    return manifest


def read(directory: Path) -> pa.Table:
    """All rows; the file's hash is checked.

    Raises:
        StorageError: they are missing, unfinished or damaged.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        raise StorageError(f"{directory}: no complete log-probabilities here. The train stage makes them.")
    path = directory / _FILE
    try:
        return pq.read_table(pa.BufferReader(read_verified(path, manifest.sha256_of_file)))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> StorageError:
    return StorageError(
        f"{path}: damaged log-probabilities ({reason}). Remove {path.parent} and train again: that "
        "computes them again."
    )

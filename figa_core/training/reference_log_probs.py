"""Log-probabilities of a reference model, kept beside the shards so that no training holds two models.

    SHARDS/log-probs/ID/log-probs.parquet    a row for every pair of the set, in the set's order
    SHARDS/log-probs/ID/manifest.json        written last: its existence means that the file is complete

A row has the pair's id and, for each requested answer, a list with the log-probability of every token. With
`top_tokens` it also has the model's most likely tokens at each token of Ỹ (`top_tokens.py`), flattened: their
ids, and their log-probabilities, each time followed by that of all others together. The id hashes the model,
the shard set, the answers and the number of most likely tokens, so trainings that need the same values share
them.
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
_IDS = pa.list_(pa.field("item", pa.int32(), nullable=False))
_LOG_PROBS = pa.list_(pa.field("item", pa.float32(), nullable=False))


@dataclass(frozen=True, slots=True)
class LogProbsManifest:
    """Describes a complete directory; `sha256_of_file` is the hash of its Parquet file.

    `top_tokens` is how many most likely tokens it has of each token of Ỹ.
    """

    log_probs_id: str
    answers: tuple[Answer, ...]
    pairs: int
    sha256_of_file: str
    top_tokens: int = 0
    version: int = _VERSION


def directory_of(shards: Path, log_probs_id: str) -> Path:
    """Below the shard set, so that they are deleted with it."""
    return shards / "log-probs" / log_probs_id


def top_columns(answer: Answer) -> tuple[str, str]:
    """The names of the columns with the most likely tokens' ids and log-probabilities."""
    return f"{answer}_top_ids", f"{answer}_top_log_probs"


def schema_of(answers: Iterable[Answer], top_tokens: int = 0) -> pa.Schema:
    """The columns of the Parquet file."""
    lists = [pa.field(answer, _LOG_PROBS, nullable=False) for answer in answers]
    if top_tokens:
        columns = zip(top_columns("revision"), (_IDS, _LOG_PROBS), strict=True)
        lists += [pa.field(name, kind, nullable=False) for name, kind in columns]
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


def write(
    directory: Path, answers: tuple[Answer, ...], tables: Iterator[pa.Table], top_tokens: int = 0
) -> LogProbsManifest:
    """Stream tables of `schema_of` into the file, a row group each, then write the manifest.

    Raises:
        StorageError: a file cannot be written.
    """
    path, pairs = directory / _FILE, 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
        schema = schema_of(answers, top_tokens)
        with replacing(path, durable=True) as file, pq.ParquetWriter(file, schema) as writer:
            for table in tables:
                writer.write_table(table)
                pairs += table.num_rows
        manifest = LogProbsManifest(directory.name, answers, pairs, file_fingerprint(path), top_tokens)
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
        table = pq.read_table(pa.BufferReader(read_verified(path, manifest.sha256_of_file)))
        if table.schema.names != schema_of(manifest.answers, manifest.top_tokens).names:
            raise ValueError(f"columns {', '.join(table.schema.names)}")
        return table
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> StorageError:
    return StorageError(
        f"{path}: damaged log-probabilities ({reason}). Remove {path.parent} and train again: that "
        "computes them again."
    )

"""The Parquet files that this environment and vLLM's exchange.

Both sides import this, so it needs only pyarrow and the standard library. A shard that exists is complete.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.files import replacing
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest
from figa_core.records import FinishReason

ROWS_WORTH_A_WORKER = 200
"""With fewer, one worker has done them before another has started."""
_T = TypeVar("_T")
_IDS = pa.list_(pa.int32())
GENERATION_REQUESTS = pa.schema([("request_id", pa.string()), ("prompt_ids", _IDS), ("seed", pa.int64())])
# `failure`: the reason why a row has no sample or reward; null if it has one.
GENERATIONS = pa.schema(
    [
        ("request_id", pa.string()),
        ("token_ids", _IDS),
        ("finish_reason", pa.string()),
        ("failure", pa.string()),
    ]
)
SCORING_REQUESTS = pa.schema([("subject_id", pa.string()), ("token_ids", _IDS)])
SCORES = pa.schema([("subject_id", pa.string()), ("value", pa.float64()), ("failure", pa.string())])


def write_shard(path: Path, columns: Sequence[Sequence[Any]], schema: pa.Schema) -> None:
    """Write columns, in the schema's order."""
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    with replacing(path) as file:
        pq.write_table(pa.table(arrays, schema=schema), file, compression="zstd")


def read_shard(path: Path, schema: pa.Schema) -> list[list[Any]]:
    """The columns of a shard as Python lists, in the schema's order."""
    table = pq.read_table(path, schema=schema)
    return [table.column(name).to_pylist() for name in schema.names]


def write_requests(
    path: Path, requests: Sequence[GenerationRequest | ScoringRequest], schema: pa.Schema
) -> None:
    """One shard of tokenized requests; the schema's columns are their attributes."""
    write_shard(path, [[getattr(each, name) for each in requests] for name in schema.names], schema)


def write_request_shards(
    folder: Path,
    requests: Iterable[GenerationRequest | ScoringRequest],
    rows_per_shard: int,
    schema: pa.Schema,
    *,
    workers: int = 1,
) -> list[str]:
    """All requests as shards in a folder; returns the names of the files, in order.

    If there are too few for `workers` shards of `rows_per_shard`, there are as many smaller ones of about one
    size, of `ROWS_WORTH_A_WORKER` at least.
    """
    names, rows = [], iter(requests)
    first = list(islice(rows, rows_per_shard * workers))
    share = max(-(-len(first) // workers), ROWS_WORTH_A_WORKER)
    for shard in in_shards(chain(first, rows), min(rows_per_shard, share)):
        names.append(f"shard-{len(names):06d}.parquet")
        write_requests(folder / names[-1], shard, schema)
    return names


def read_generation_requests(path: Path) -> list[GenerationRequest]:
    columns = zip(*read_shard(path, GENERATION_REQUESTS), strict=True)
    return [GenerationRequest(key, tuple(ids), seed) for key, ids, seed in columns]


def read_scoring_requests(path: Path) -> list[ScoringRequest]:
    columns = zip(*read_shard(path, SCORING_REQUESTS), strict=True)
    return [ScoringRequest(key, tuple(ids)) for key, ids in columns]


def write_generations(path: Path, rows: Sequence[Generation | RowFailure]) -> None:
    """One shard of samples and failures."""
    columns = [
        (row.row_id, [], "", row.reason)
        if isinstance(row, RowFailure)
        else (row.request_id, row.token_ids, row.finish_reason.value, None)
        for row in rows
    ]
    write_shard(path, [*zip(*columns, strict=True)], GENERATIONS)


def write_scores(path: Path, rows: Sequence[tuple[str, float] | RowFailure]) -> None:
    """One shard of raw rewards and failures."""
    columns = [
        (row.row_id, None, row.reason) if isinstance(row, RowFailure) else (*row, None) for row in rows
    ]
    write_shard(path, [*zip(*columns, strict=True)], SCORES)


def read_generations(path: Path) -> list[Generation | RowFailure]:
    return [
        Generation(key, tuple(ids), FinishReason(finish)) if failure is None else RowFailure(key, failure)
        for key, ids, finish, failure in zip(*read_shard(path, GENERATIONS), strict=True)
    ]


def read_scores(path: Path) -> list[tuple[str, float] | RowFailure]:
    """One shard of (subject id, raw reward)."""
    return [
        (key, value) if failure is None else RowFailure(key, failure)
        for key, value, failure in zip(*read_shard(path, SCORES), strict=True)
    ]


def in_shards(rows: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Cut a stream into lists of at most `size`."""
    shard: list[_T] = []
    for row in rows:
        shard.append(row)
        if len(shard) == size:
            yield shard
            shard = []
    if shard:
        yield shard

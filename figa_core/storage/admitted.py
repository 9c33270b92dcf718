"""The admitted pairs of one run with all their texts, as a snapshot for the weigh stage.

Their ids are hashes, so in the order of ids the texts of a pair are anywhere in their tables, and looking
them up would read each table again for every page. Instead every table is streamed once, its rows are
scattered into buckets (files) of neighbouring ids, and a bucket is put in order when it is read. Memory holds
one bucket, and the database is closed before the first pair is given out.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from figa_core.records import FinishReason, Message
from figa_core.storage.database import Database
from figa_core.storage.rows import AdmittedPair

_BUCKET_ROWS = 1024
_MOST_BUCKETS = 512  # each is an open file
# DuckDB would otherwise keep every block it has read.
_MEMORY = "SET memory_limit = '512MB'"
_PLACES = """
    CREATE TEMP TABLE places AS
    SELECT v.revision_id AS pair_id, pairs.response_id, before.value AS response_reward,
           after.value AS revision_reward, p.rowid AS prompt_row, r.rowid AS response_row,
           v.rowid AS revision_row, a.rowid AS reference_row,
           row_number() OVER (ORDER BY v.revision_id) - 1 AS place
    FROM pairs JOIN prompts p USING (prompt_id) JOIN revisions v USING (revision_id)
    JOIN responses r ON r.response_id = pairs.response_id
    LEFT JOIN reference_answers a ON a.reference_id = v.reference_id
    JOIN scores before ON before.subject_id = pairs.response_id AND before.scorer_id = $scorer
    JOIN scores after ON after.subject_id = v.revision_id AND after.scorer_id = $scorer
    WHERE pairs.run_id = $run AND pairs.admitted AND p.split = 'train'
      AND (NOT $undecided OR pairs.weighed IS NULL)"""
_PARTS = {
    "places": "SELECT place, pair_id, response_id, response_reward, revision_reward FROM places",
    "prompts": "SELECT place, messages FROM prompts t JOIN places ON t.rowid = prompt_row",
    "responses": "SELECT place, text, finish_reason, token_ids FROM responses t "
    "JOIN places ON t.rowid = response_row",
    "revisions": "SELECT place, text FROM revisions t JOIN places ON t.rowid = revision_row",
    "references": "SELECT place, text FROM reference_answers t JOIN places ON t.rowid = reference_row",
}


class AdmittedPairs:
    """A snapshot in the directory `scratch`, which it empties; pairs come in the order of their ids.

    `only_undecided`: those of which no shard set and no reason is recorded yet.

    Raises:
        StorageError, WorkspaceError: see `Database.open`.
    """

    def __init__(
        self, database: Database, run_id: str, scorer_id: str, scratch: Path, *, only_undecided: bool = False
    ) -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self._scratch = scratch
        values = {"run": run_id, "scorer": scorer_id, "undecided": only_undecided}
        with database.open() as connection:
            connection.execute(_MEMORY)
            connection.begin()  # row numbers hold only as long as nothing is written
            row = connection.execute(_PLACES, values).fetchone()
            self._rows = int(row[0]) if row else 0
            self._rows_per_bucket = max(_BUCKET_ROWS, -(-self._rows // _MOST_BUCKETS))
            self._buckets = -(-self._rows // self._rows_per_bucket)
            for part, query in _PARTS.items():
                self._scatter(connection, part, query)
            connection.rollback()

    def __len__(self) -> int:
        return self._rows

    def ids(self) -> Iterator[str]:
        """The pairs' ids."""
        for bucket in range(self._buckets):
            yield from self._read("places", bucket).column("pair_id").to_pylist()

    def pages(self) -> Iterator[list[AdmittedPair]]:
        """The pairs, about a thousand at a time (more where there are very many)."""
        for bucket in range(self._buckets):
            known = self._read("places", bucket)
            references = self._read("references", bucket)
            text_at = dict(zip(*(column.to_pylist() for column in references.columns), strict=True))
            columns = [
                *(column.to_pylist() for column in known.columns[1:]),
                *(c.to_pylist() for c in self._read("prompts", bucket).columns[1:]),
                *(c.to_pylist() for c in self._read("responses", bucket).columns[1:]),
                *(c.to_pylist() for c in self._read("revisions", bucket).columns[1:]),
                [text_at.get(place) for place in known.column("place").to_pylist()],
            ]
            yield [_pair(*row) for row in zip(*columns, strict=True)]

    def _scatter(self, connection: duckdb.DuckDBPyConnection, part: str, query: str) -> None:
        reader = connection.sql(query).to_arrow_reader(2048)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(pa.ipc.new_stream(self._file(part, bucket), reader.schema))
                for bucket in range(self._buckets)
            ]
            for batch in reader:
                buckets = batch.column("place").to_numpy() // self._rows_per_bucket
                for bucket in np.unique(buckets):
                    writers[bucket].write_batch(batch.filter(pa.array(buckets == bucket)))

    def _read(self, part: str, bucket: int) -> pa.Table:
        with pa.ipc.open_stream(self._file(part, bucket)) as reader:
            return reader.read_all().sort_by("place")

    def _file(self, part: str, bucket: int) -> str:
        return str(self._scratch / f"{part}-{bucket:03d}.arrow")


def _pair(
    pair_id: str,
    response_id: str,
    response_reward: float,
    revision_reward: float,
    messages: str,
    response_text: str,
    response_finish: str,
    response_token_ids: Sequence[int],
    revision_text: str,
    reference_text: str | None,
) -> AdmittedPair:
    return AdmittedPair(
        pair_id=pair_id,
        response_id=response_id,
        messages=tuple(Message(m["role"], m["content"]) for m in orjson.loads(messages)),
        response_text=response_text,
        response_finish=FinishReason(response_finish),
        response_token_ids=tuple(response_token_ids),
        revision_text=revision_text,
        reference_text=reference_text,
        response_reward=response_reward,
        revision_reward=revision_reward,
    )

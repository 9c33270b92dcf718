"""Stage weigh: a snapshot of a run's admitted pairs with all their texts, and which pairs were weighed.

Pairs come in the order of their ids, which are hashes. So the texts of a page are scattered over their
tables, and looking them up would read each table again for every page. Instead each table is streamed once
into buckets (files) of neighbouring ids, and a bucket is sorted when it is read. Memory holds one bucket, and
the database is closed before the first pair is read.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from figa_core.records import AdmittedPair, FinishReason
from figa_core.storage.conversations import read_messages
from figa_core.storage.database import Database, changed_rows
from figa_core.storage.people import THROWN_OUT
from figa_core.storage.responses import IS_ALL_THOUGHT

_BUCKET_ROWS = 1024
_MOST_BUCKETS = 512  # each is an open file
_PLACES = f"""
    CREATE TEMP TABLE places AS
    WITH best AS (
        SELECT r.prompt_id, r.generator_id, r.rowid AS best_row, row_number() OVER (
            PARTITION BY r.prompt_id, r.generator_id ORDER BY s.value DESC, r.sample_index) AS rank
        FROM responses r JOIN scores s ON s.subject_id = r.response_id AND s.scorer_id = $scorer
        WHERE r.sample_index < $best_of
          AND r.prompt_id IN (SELECT prompt_id FROM pairs WHERE run_id = $run AND admitted)
          AND r.response_id NOT IN (SELECT subject_id FROM exclusions)
          AND NOT {IS_ALL_THOUGHT})
    SELECT v.revision_id AS pair_id, before.value AS response_reward,
           after.value AS revision_reward, p.rowid AS prompt_row, r.rowid AS response_row,
           v.rowid AS revision_row, a.rowid AS reference_row, g.scores AS word_scores,
           CASE WHEN row_number() OVER (PARTITION BY p.prompt_id ORDER BY v.revision_id) = 1
                THEN best_row END AS best_row,
           row_number() OVER (ORDER BY v.revision_id) - 1 AS place
    FROM pairs JOIN prompts p USING (prompt_id) JOIN revisions v USING (revision_id)
    JOIN responses r ON r.response_id = pairs.response_id
    LEFT JOIN reference_answers a ON a.reference_id = v.reference_id
    LEFT JOIN run_grades rg ON rg.run_id = $run AND rg.revision_id = v.revision_id AND rg.used
    LEFT JOIN word_grades g ON g.grade_id = rg.grade_id
    JOIN scores before ON before.subject_id = pairs.response_id AND before.scorer_id = $scorer
    JOIN scores after ON after.subject_id = v.revision_id AND after.scorer_id = $scorer
    LEFT JOIN best
      ON best.prompt_id = p.prompt_id AND best.generator_id = r.generator_id AND best.rank = 1
    WHERE pairs.run_id = $run AND pairs.admitted AND p.split = 'train'
      AND pairs.response_id NOT IN ({THROWN_OUT})
      AND (NOT $undecided OR pairs.weighed IS NULL)"""
_PARTS = {
    "places": "SELECT place, pair_id, response_reward, revision_reward, word_scores FROM places",
    "prompts": "SELECT place, messages FROM prompts t JOIN places ON t.rowid = prompt_row",
    "responses": "SELECT place, text AS response_text, finish_reason AS response_finish, "
    "token_ids AS response_token_ids, thought_ids FROM responses t JOIN places ON t.rowid = response_row",
    "revisions": "SELECT place, text AS revision_text FROM revisions t JOIN places ON t.rowid = revision_row",
    "references": "SELECT place, text AS reference_text FROM reference_answers t "
    "JOIN places ON t.rowid = reference_row",
    "best": "SELECT place, response_id AS best_id, text AS best_text, finish_reason AS best_finish "
    "FROM responses t JOIN places ON t.rowid = best_row",
}


_IN_SOME_PLACES = (("references", "reference_text"), ("best", "best_text"), ("best", "best_finish"))


class AdmittedPairs:
    """A snapshot in the directory `scratch`, which it empties first.

    `only_undecided`: only pairs that are not recorded as weighed or skipped yet. `best_of`: the first pair of
    each prompt has the best by reward of the prompt's first so many samples.

    Raises:
        StorageError, WorkspaceError: see `Database.open`.
    """

    def __init__(
        self,
        database: Database,
        run_id: str,
        scorer_id: str,
        scratch: Path,
        *,
        only_undecided: bool = False,
        best_of: int | None = None,
    ) -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self._scratch = scratch
        values = {"run": run_id, "scorer": scorer_id, "undecided": only_undecided, "best_of": best_of}
        with database.open() as connection:
            connection.execute("SET memory_limit = '512MB'")  # otherwise DuckDB keeps every block it read
            connection.begin()  # row numbers are valid only while nothing is written
            [(self._rows,)] = connection.execute(_PLACES, values).fetchall()
            self._rows_per_bucket = max(_BUCKET_ROWS, -(-self._rows // _MOST_BUCKETS))
            self._buckets = -(-self._rows // self._rows_per_bucket)
            for part, query in _PARTS.items():
                self._scatter(connection, part, query)
            connection.rollback()

    def __len__(self) -> int:
        return self._rows

    def ids(self) -> Iterator[str]:
        """The pairs' ids, which are their revisions' ids."""
        for bucket in range(self._buckets):
            yield from self._read("places", bucket).column("pair_id").to_pylist()

    def best_ids(self) -> Iterator[str]:
        """The ids of the best samples, in the order of the pairs that have them."""
        for bucket in range(self._buckets):
            yield from self._read("best", bucket).column("best_id").to_pylist()

    def scores(self) -> Iterator[str]:
        """What an LLM gave the words of each pair, such as "5 0"; empty if the pair has no scores."""
        for bucket in range(self._buckets):
            for scores in self._read("places", bucket).column("word_scores").to_pylist():
                yield " ".join(map(str, scores or ()))

    def pages(self) -> Iterator[list[AdmittedPair]]:
        """The pairs, about a thousand at a time (more if there are very many)."""
        for bucket in range(self._buckets):
            columns: dict[str, list[Any]] = {}
            for part in ("places", "prompts", "responses", "revisions"):
                columns |= self._read(part, bucket).to_pydict()
            places = columns.pop("place")
            for part, name in _IN_SOME_PLACES:
                found = self._read(part, bucket).to_pydict()
                value_at = dict(zip(found["place"], found[name], strict=True))
                columns[name] = [value_at.get(place) for place in places]
            rows = zip(*columns.values(), strict=True)
            yield [_pair(**dict(zip(columns, row, strict=True))) for row in rows]

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


def save_skipped(database: Database, run_id: str, reasons: Mapping[str, str]) -> None:
    """Store why pairs of the run cannot be trained on, by pair id."""
    rows = [{"pair_id": pair_id, "reason": reason} for pair_id, reason in reasons.items()]
    statement = (
        "UPDATE pairs SET weighed = false, weigh_reason = i.reason FROM incoming i "
        "WHERE pairs.run_id = $run AND pairs.revision_id = i.pair_id"
    )
    with database.transaction() as connection:
        changed_rows(connection, rows, statement, run=run_id)


def save_weighed_shards(database: Database, run_id: str, files: Sequence[Path]) -> None:
    """Mark the run's pairs that are in these shard files as weighed."""
    database.execute(
        "UPDATE pairs SET weighed = true, weigh_reason = 'weighed' "
        "FROM read_parquet($files) shard "
        "WHERE pairs.run_id = $run AND pairs.admitted AND pairs.revision_id = shard.pair_id",
        files=[str(path) for path in files],
        run=run_id,
    )


def forget_weighed(database: Database, run_id: str) -> None:
    """The run's pairs have not been weighed yet: other scores make other decisions about the same pair."""
    database.execute(
        "UPDATE pairs SET weighed = NULL, weigh_reason = NULL WHERE run_id = $run AND weighed IS NOT NULL",
        run=run_id,
    )


def _pair(
    *,
    messages: str,
    response_finish: str,
    response_token_ids: Sequence[int],
    thought_ids: Sequence[int] | None,
    best_finish: str | None,
    word_scores: Sequence[int] | None,
    **fields: Any,
) -> AdmittedPair:
    return AdmittedPair(
        word_scores=None if word_scores is None else tuple(word_scores),
        messages=read_messages(messages),
        response_finish=FinishReason(response_finish),
        response_token_ids=tuple(response_token_ids),
        thought_ids=tuple(thought_ids or ()),
        best_finish=None if best_finish is None else FinishReason(best_finish),
        **fields,
    )

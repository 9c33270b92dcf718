"""What the stages read and write, a method for each; what filter and admit decide is in `pairs`.

Every write is idempotent: ids are content hashes, an insert of a known id changes nothing. Every `iter_*`
walks by key in pages, opening the file for one page at a time, so that memory stays flat and no stage holds
the file while a model runs. What a stage has still to do is always asked of *one run*: rows of another
config or of an abandoned run are invisible to it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from figa_core.errors import StorageError
from figa_core.prompts.read import BadRow
from figa_core.records import (
    Decision,
    Prompt,
    Response,
    Score,
    Split,
)
from figa_core.storage import tables
from figa_core.storage.database import Database, insert_rows
from figa_core.storage.rows import Sample, Source, Subject, TrainingRow, read_messages

DATABASE_NAME = "figa.duckdb"
RUNNING = "running"
INTERRUPTED = "interrupted"
"""The status of a run that somebody stopped."""
_PAGE_ROWS = 2000


class Store:
    """The workspace's database; see the module's docstring."""

    def __init__(self, directory: Path, *, lock_timeout_s: float = 30.0, read_only: bool = False) -> None:
        self.database = Database(
            directory / DATABASE_NAME, lock_timeout_s=lock_timeout_s, read_only=read_only
        )

    def create(self) -> None:
        """Create or migrate the database; see `Database.create`."""
        self.database.create()

    # --- import ---------------------------------------------------------------------------------------

    def save_run(self, run_id: str, name: str, config: Mapping[str, Any], flow_run: str | None) -> None:
        """Record that a run starts, or starts again."""
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO runs (run_id, name, config, status, flow_run) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (run_id) DO UPDATE SET config = excluded.config, status = excluded.status, "
                "flow_run = excluded.flow_run, message = NULL, started_at = now(), ended_at = NULL",
                [run_id, name, orjson.dumps(config).decode(), RUNNING, flow_run],
            )

    def end_run(self, run_id: str, status: str, message: str | None = None) -> None:
        """Record how a run ended: completed, failed or interrupted."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE runs SET status = ?, message = ?, ended_at = now() WHERE run_id = ?",
                [status, message, run_id],
            )

    def save_run_settings(self, run_id: str, settings: Mapping[str, Any]) -> None:
        """What a run found out and others need: generator and scorer ids, the thresholds as numbers."""
        with self.database.transaction() as connection:
            row = connection.execute("SELECT settings FROM runs WHERE run_id = ?", [run_id]).fetchone()
            merged = {**orjson.loads(row[0] if row else "{}"), **settings}
            connection.execute(
                "UPDATE runs SET settings = ? WHERE run_id = ?", [orjson.dumps(merged).decode(), run_id]
            )

    def import_prompts(self, run_id: str, prompts: Sequence[Prompt]) -> None:
        """Save a batch of prompts and make them this run's."""
        with self.database.transaction() as connection:
            insert_rows(connection, "prompts", [_prompt_row(p) for p in prompts], tables.PROMPTS)
            references = [
                {"reference_id": p.reference_id, "prompt_id": p.prompt_id, "text": p.reference}
                for p in prompts
                if p.reference is not None
            ]
            insert_rows(connection, "reference_answers", references, tables.REFERENCES)
            links = [
                {"run_id": run_id, "prompt_id": p.prompt_id, "reference_id": p.reference_id} for p in prompts
            ]
            insert_rows(connection, "run_prompts", links, tables.RUN_PROMPTS)

    def save_bad_rows(self, run_id: str, rows: Sequence[BadRow]) -> None:
        """Record rows that cannot be used, with their reasons."""
        records = [{"run_id": run_id, "source_row": row.row, "reason": row.reason} for row in rows]
        with self.database.transaction() as connection:
            insert_rows(connection, "bad_rows", records, tables.BAD_ROWS)

    # --- generate -------------------------------------------------------------------------------------

    def iter_missing_samples(
        self, run_id: str, generator_id: str, split: Split, samples: int, limit: int | None = None
    ) -> Iterator[list[Sample]]:
        """Samples of this run's prompts that `generator_id` neither drew nor failed to draw; `limit` prompts,
        by id order.
        """
        query, values = _missing_samples(run_id, generator_id, split, samples, limit)
        query = f"""
            SELECT prompt_id, messages, sample_index FROM ({query})
            WHERE (prompt_id, sample_index) > ($after, $after_index)
            ORDER BY prompt_id, sample_index LIMIT {_PAGE_ROWS}"""
        after = ("", -1)
        while page := self.database.fetch(query, **values, after=after[0], after_index=after[1]):
            yield [Sample(prompt_id, read_messages(text), index) for prompt_id, text, index in page]
            after = (page[-1][0], page[-1][2])

    def count_missing_samples(
        self, run_id: str, generator_id: str, split: Split, samples: int, limit: int | None = None
    ) -> int:
        """How many samples `iter_missing_samples` would give."""
        query, values = _missing_samples(run_id, generator_id, split, samples, limit)
        return self.database.fetch(f"SELECT count(*) FROM ({query})", **values)[0][0]

    def save_responses(self, generator_id: str, responses: Sequence[Response]) -> int:
        """Save a batch; returns how many were new."""
        rows = [
            {
                "response_id": r.response_id,
                "prompt_id": r.prompt_id,
                "generator_id": generator_id,
                "sample_index": r.sample_index,
                "text": r.text,
                "token_ids": r.token_ids,
                "finish_reason": str(r.finish_reason),
            }
            for r in responses
        ]
        with self.database.transaction() as connection:
            return insert_rows(connection, "responses", rows, tables.RESPONSES)

    def count_responses(self, run_id: str, generator_id: str, split: Split) -> int:
        """How many samples this run has from `generator_id`."""
        rows = self.database.fetch(
            "SELECT count(*) FROM responses r JOIN run_prompts rp USING (prompt_id) "
            "JOIN prompts p USING (prompt_id) WHERE rp.run_id = $run AND r.generator_id = $generator "
            "AND p.split = $split",
            run=run_id,
            generator=generator_id,
            split=str(split),
        )
        return rows[0][0]

    # --- score ----------------------------------------------------------------------------------------

    def iter_unscored(self, source: Source, scorer_id: str) -> Iterator[list[Subject]]:
        """Texts of `source` for which this scorer has neither a value nor a failure."""
        query, values = _unscored(source, scorer_id)
        query = f"SELECT * FROM ({query}) WHERE subject_id > $after ORDER BY subject_id LIMIT {_PAGE_ROWS}"
        after = ""
        while page := self.database.fetch(query, **values, after=after):
            yield [Subject(subject_id, read_messages(messages), text) for subject_id, messages, text in page]
            after = page[-1][0]

    def count_unscored(self, source: Source, scorer_id: str) -> int:
        """How many texts `iter_unscored` would give."""
        query, values = _unscored(source, scorer_id)
        return self.database.fetch(f"SELECT count(*) FROM ({query})", **values)[0][0]

    def save_scores(self, scores: Sequence[Score]) -> int:
        """Save a batch; returns how many were new.

        Raises:
            StorageError: a value is no finite number: what reads scores compares and averages them.
        """
        odd = [s for s in scores if not math.isfinite(s.value)]
        if odd:
            raise StorageError(
                f"{len(odd)} of {len(scores)} scores are not finite numbers, such as {odd[0].value} for "
                f"{odd[0].subject_id}. Store them as failures (storage.failures)."
            )
        rows = [{"subject_id": s.subject_id, "scorer_id": s.scorer_id, "value": s.value} for s in scores]
        with self.database.transaction() as connection:
            return insert_rows(connection, "scores", rows, tables.SCORES)

    # --- weigh ----------------------------------------------------------------------------------------

    def save_weighings(self, run_id: str, decisions: Mapping[str, Decision]) -> None:
        """Store which admitted pairs went into the shards, and why the others did not."""
        rows = [{"response_id": k, "accepted": d.accepted, "reason": d.reason} for k, d in decisions.items()]
        with self.database.transaction() as connection:
            connection.register("incoming", pa.Table.from_pylist(rows, schema=tables.DECISIONS))
            connection.execute(
                "UPDATE pairs SET weighed = i.accepted, weigh_reason = i.reason FROM incoming i "
                "WHERE pairs.run_id = ? AND pairs.response_id = i.response_id",
                [run_id],
            )
            connection.unregister("incoming")

    def save_weighed_shards(self, run_id: str, files: Sequence[Path]) -> None:
        """Mark as weighed the pairs of this run that are in these shard files."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE pairs SET weighed = true, weigh_reason = 'weighed' "
                "FROM read_parquet($files) shard "
                "WHERE pairs.run_id = $run AND pairs.admitted AND pairs.revision_id = shard.pair_id",
                {"files": [str(path) for path in files], "run": run_id},
            )

    # --- train and evaluate ---------------------------------------------------------------------------

    def save_training(self, training: TrainingRow, fingerprint: str) -> None:
        """Record a finished training and the model it made."""
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO trainings (training_id, run_id, objective, shard_set_id, parent_model, "
                "directory, steps, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [
                    training.training_id,
                    training.run_id,
                    training.objective,
                    training.shard_set_id,
                    training.parent_model,
                    training.directory,
                    training.steps,
                    training.seconds,
                ],
            )
            connection.execute(
                "INSERT INTO models (fingerprint, directory, training_id, parent) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                [fingerprint, training.directory, training.training_id, training.parent_model],
            )

    def prompt_values(
        self, run_id: str, generator_id: str, scorer_id: str, split: Split, limit: int
    ) -> dict[str, float]:
        """prompt id → this scorer's value of sample 0, of the first `limit` prompts by id."""
        rows = self.database.fetch(
            """WITH chosen AS (
                   SELECT p.prompt_id FROM run_prompts rp JOIN prompts p USING (prompt_id)
                   WHERE rp.run_id = $run AND p.split = $split
                     AND p.prompt_id NOT IN (SELECT subject_id FROM exclusions)
                   ORDER BY p.prompt_id LIMIT $limit)
               SELECT r.prompt_id, s.value FROM chosen JOIN responses r USING (prompt_id)
               JOIN scores s ON s.subject_id = r.response_id AND s.scorer_id = $scorer
               WHERE r.generator_id = $generator AND r.sample_index = 0 ORDER BY r.prompt_id""",
            run=run_id,
            generator=generator_id,
            scorer=scorer_id,
            split=str(split),
            limit=limit,
        )
        return dict(rows)

    def save_evaluation(
        self,
        run_id: str,
        label: str,
        generator_id: str,
        scorer_id: str,
        metric: str,
        estimate: tuple[int, float, float | None],
        left_out: int = 0,
    ) -> None:
        """Save one model's mean of one metric; `estimate` is n, mean, standard error, and `left_out` how many
        prompts have no value.
        """
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO evaluations "
                "(run_id, label, generator_id, scorer_id, metric, n, mean, standard_error, left_out) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [run_id, label, generator_id, scorer_id, metric, *estimate, left_out],
            )


def _prompt_row(prompt: Prompt) -> dict[str, str]:
    messages = orjson.dumps([m.as_dict() for m in prompt.messages]).decode()
    return {"prompt_id": prompt.prompt_id, "messages": messages, "split": str(prompt.split)}


def _missing_samples(
    run_id: str, generator_id: str, split: Split, samples: int, limit: int | None
) -> tuple[str, dict[str, Any]]:
    query = f"""
        WITH chosen AS (
            SELECT p.prompt_id, p.messages FROM run_prompts rp JOIN prompts p USING (prompt_id)
            WHERE rp.run_id = $run AND p.split = $split
              AND p.prompt_id NOT IN (SELECT subject_id FROM exclusions)
            ORDER BY p.prompt_id {"LIMIT $limit" if limit is not None else ""}
        )
        SELECT c.prompt_id, c.messages, s.i::INTEGER AS sample_index
        FROM chosen c CROSS JOIN range($samples) s(i)
        WHERE NOT EXISTS (SELECT 1 FROM responses r WHERE r.prompt_id = c.prompt_id
                          AND r.generator_id = $generator AND r.sample_index = s.i)
          AND NOT EXISTS (SELECT 1 FROM generation_failures f WHERE f.prompt_id = c.prompt_id
                          AND f.generator_id = $generator AND f.sample_index = s.i)"""
    values = {"run": run_id, "split": str(split), "samples": samples, "generator": generator_id}
    return query, values if limit is None else {**values, "limit": limit}


def _unscored(source: Source, scorer_id: str) -> tuple[str, dict[str, Any]]:
    query = f"""
        SELECT t.subject_id, t.messages, t.text FROM ({source.query}) t
        WHERE NOT EXISTS (
            SELECT 1 FROM scores s WHERE s.subject_id = t.subject_id AND s.scorer_id = $scorer)
          AND NOT EXISTS (
            SELECT 1 FROM score_failures f WHERE f.subject_id = t.subject_id AND f.scorer_id = $scorer)"""
    return query, {**source.values, "scorer": scorer_id}

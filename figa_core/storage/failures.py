"""Rows for which alone a model, its template or a verifier failed: stored like results, not tried again.

A stage that fails for too many rows ends with an error, and forgets them: then something that all rows have
in common is wrong, and once that is put right the same command must try them again.
"""

from collections.abc import Sequence
from typing import Any

from figa_core.ports import RowFailure
from figa_core.records import Split
from figa_core.row_failures import Failed, failure_kind
from figa_core.storage import tables
from figa_core.storage.database import Database, insert_rows
from figa_core.storage.rows import Source

_CHOSEN = """
    SELECT p.prompt_id FROM run_prompts rp JOIN prompts p USING (prompt_id)
    WHERE rp.run_id = $run AND p.split = $split
      AND p.prompt_id NOT IN (SELECT subject_id FROM exclusions)
    ORDER BY p.prompt_id"""


def save_score_failures(database: Database, scorer_id: str, failures: Sequence[RowFailure]) -> None:
    """Why texts have no value of this scorer."""
    rows = [
        {"subject_id": f.row_id, "scorer_id": scorer_id, "kind": failure_kind(f.reason), "reason": f.reason}
        for f in failures
    ]
    with database.transaction() as connection:
        insert_rows(connection, "score_failures", rows, tables.SCORE_FAILURES)


def score_failures(database: Database, source: Source, scorer_id: str) -> tuple[int, list[Failed]]:
    """How many texts `source` has, and why some of them have no value of this scorer."""
    texts = database.fetch(f"SELECT count(*) FROM ({source.query})", **source.values)[0][0]
    found = database.fetch(
        f"""SELECT kind, count(*), min(subject_id), arg_min(reason, subject_id)
            FROM score_failures WHERE scorer_id = $scorer
            AND subject_id IN (SELECT subject_id FROM ({source.query})) GROUP BY 1""",
        **source.values,
        scorer=scorer_id,
    )
    return texts, [Failed(*row) for row in found]


def forget_score_failures(database: Database, source: Source, scorer_id: str) -> None:
    """The next run tries these texts again."""
    with database.transaction() as connection:
        connection.execute(
            f"""DELETE FROM score_failures
                WHERE scorer_id = $scorer AND subject_id IN (SELECT subject_id FROM ({source.query}))""",
            {**source.values, "scorer": scorer_id},
        )


def save_generation_failures(
    database: Database, generator_id: str, failures: Sequence[tuple[str, int, str]]
) -> None:
    """Why samples could not be drawn: (prompt id, sample index, reason)."""
    rows = [
        {
            "prompt_id": prompt_id,
            "generator_id": generator_id,
            "sample_index": index,
            "kind": failure_kind(reason),
            "reason": reason,
        }
        for prompt_id, index, reason in failures
    ]
    with database.transaction() as connection:
        insert_rows(connection, "generation_failures", rows, tables.GENERATION_FAILURES)


def generation_failures(
    database: Database, run_id: str, generator_id: str, split: Split
) -> tuple[int, list[Failed]]:
    """How many samples of this run's prompts were drawn or failed, and why some failed."""
    values: dict[str, Any] = {"run": run_id, "generator": generator_id, "split": str(split)}
    drawn = database.fetch(
        f"SELECT count(*) FROM responses WHERE generator_id = $generator AND prompt_id IN ({_CHOSEN})",
        **values,
    )[0][0]
    found = database.fetch(
        f"""SELECT kind, count(*), min(prompt_id), arg_min(reason, prompt_id) FROM generation_failures
            WHERE generator_id = $generator AND prompt_id IN ({_CHOSEN}) GROUP BY 1""",
        **values,
    )
    failed = [Failed(*row) for row in found]
    return drawn + sum(f.rows for f in failed), failed


def forget_generation_failures(database: Database, run_id: str, generator_id: str, split: Split) -> None:
    """The next run tries these samples again."""
    with database.transaction() as connection:
        connection.execute(
            f"DELETE FROM generation_failures WHERE generator_id = $generator AND prompt_id IN ({_CHOSEN})",
            {"run": run_id, "generator": generator_id, "split": str(split)},
        )


def without_value(
    database: Database, run_id: str, generator_id: str, scorer_id: str, split: Split, limit: int
) -> dict[str, int]:
    """Prompts among the first `limit` (by id) whose sample 0 has no value of this scorer, by reason."""
    found = database.fetch(
        f"""WITH chosen AS ({_CHOSEN} LIMIT $limit)
            SELECT coalesce(sf.kind, gf.kind, 'not asked yet') AS kind, count(*) FROM chosen c
            LEFT JOIN responses r
              ON r.prompt_id = c.prompt_id AND r.generator_id = $generator AND r.sample_index = 0
            LEFT JOIN scores s ON s.subject_id = r.response_id AND s.scorer_id = $scorer
            LEFT JOIN score_failures sf ON sf.subject_id = r.response_id AND sf.scorer_id = $scorer
            LEFT JOIN generation_failures gf
              ON gf.prompt_id = c.prompt_id AND gf.generator_id = $generator AND gf.sample_index = 0
            WHERE s.value IS NULL GROUP BY 1 ORDER BY 2 DESC, 1""",
        run=run_id,
        generator=generator_id,
        scorer=scorer_id,
        split=str(split),
        limit=limit,
    )
    return dict(found)

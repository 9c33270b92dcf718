"""Stage score by a judge: the questions about a run's texts, those that are open, and the scores that follow.

A question is open if it is pending, was sent and never answered, or failed in a way that may be tried again.
Texts with the same question share a judgement. `revisions.spent` counts the calls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from figa_core.ports import RewardRequest
from figa_core.records import JudgementStatus, Purpose
from figa_core.storage.causes import Cause, largest_causes, last_call_sql
from figa_core.storage.database import Database, insert_rows
from figa_core.storage.revisions import Batch
from figa_core.storage.scores import Source, rewarded

_OPEN = "(j.status IN ('pending', 'submitted') OR (j.status = 'failed' AND j.retryable))"
_LAST_CALL = last_call_sql(Purpose.JUDGEMENT)


@dataclass(frozen=True, slots=True)
class Judged:
    """The texts of `source` in a run, and the scorer whose questions are about them."""

    run_id: str
    scorer_id: str
    source: Source

    @property
    def rows(self) -> str:
        """SQL: the questions about these texts."""
        return f"""(SELECT r.subject_id, r.judgement_id FROM run_judgements r
            WHERE r.run_id = $run AND r.scorer_id = $scorer
            AND r.subject_id IN (SELECT subject_id FROM ({self.source.query}))) r
            JOIN judgements j USING (judgement_id)"""

    @property
    def open(self) -> str:
        """SQL: whether a question of `rows` is open."""
        return _OPEN

    @property
    def values(self) -> dict[str, object]:
        """The parameters of `rows`."""
        return {**self.source.values, "run": self.run_id, "scorer": self.scorer_id}


def save_questions(database: Database, judged: Judged, questions: Mapping[str, str]) -> None:
    """Record the judgement id of each text; a question that the database does not have becomes pending."""
    pending = [
        {"judgement_id": judgement_id, "status": JudgementStatus.PENDING}
        for judgement_id in dict.fromkeys(questions.values())
    ]
    about = [
        {
            "run_id": judged.run_id,
            "scorer_id": judged.scorer_id,
            "subject_id": subject_id,
            "judgement_id": judgement_id,
        }
        for subject_id, judgement_id in questions.items()
    ]
    with database.transaction() as connection:
        insert_rows(connection, "judgements", pending)
        insert_rows(connection, "run_judgements", about, replace=True)


def batches(database: Database, judged: Judged, rows: int) -> list[Batch]:
    """The open questions in batches of `rows`, in the order of their ids."""
    return database.records(
        Batch,
        f"""SELECT n + 1 AS number, min(judgement_id) AS first, max(judgement_id) AS last, count(*) AS rows
            FROM (SELECT judgement_id, (row_number() OVER (ORDER BY judgement_id) - 1) // $rows AS n
                  FROM (SELECT DISTINCT judgement_id FROM {judged.rows} WHERE {_OPEN}))
            GROUP BY n ORDER BY n""",
        **judged.values,
        rows=rows,
    )


def requests(database: Database, judged: Judged, batch: Batch, fields: Sequence[str]) -> list[RewardRequest]:
    """The open questions of the batch, with these fields of the prompts' rows.

    The `subject_id` of each is the judgement's id.
    """
    rows = database.fetch(
        f"""SELECT judgement_id, first(t.messages), first(t.text), first(rp.fields), first(rp.type),
                   first(a.text)
            FROM {judged.rows} JOIN ({judged.source.query}) t USING (subject_id)
            JOIN run_prompts rp ON rp.run_id = $run AND rp.prompt_id = t.prompt_id
            LEFT JOIN reference_answers a ON a.reference_id = rp.reference_id
            WHERE {_OPEN} AND judgement_id BETWEEN $first AND $last GROUP BY judgement_id ORDER BY 1""",
        **judged.values,
        first=batch.first,
        last=batch.last,
    )
    return [replace(rewarded(fields, *row), subject_id=row[0]) for row in rows]


def settle(database: Database, judged: Judged) -> None:
    """Store the scores of the texts that have been judged, and why others have none for good."""
    with database.transaction() as connection:
        connection.execute(
            f"""INSERT OR IGNORE INTO scores SELECT r.subject_id, $scorer, j.score
                FROM {judged.rows} WHERE j.status = '{JudgementStatus.JUDGED}'""",
            judged.values,
        )
        connection.execute(
            f"""INSERT OR IGNORE INTO score_failures
                SELECT r.subject_id, $scorer, 'the judge gave no score: ' || j.status,
                       'the judge gave no score: ' || j.status || coalesce(' (' || j.reason || ')', '')
                FROM {judged.rows} WHERE j.status <> '{JudgementStatus.JUDGED}' AND NOT {_OPEN}""",
            judged.values,
        )


def statuses(database: Database, judged: Judged) -> dict[str, int]:
    """The number of texts by the status of their judgement, the most frequent first.

    Those that another run has settled count, too; a failure among them by its kind.
    """
    rows = database.fetch(
        f"""SELECT CASE WHEN s.value IS NOT NULL THEN '{JudgementStatus.JUDGED}'
                   ELSE coalesce(j.status, f.kind) END AS status, count(*)
            FROM (SELECT subject_id FROM ({judged.source.query})) t
            LEFT JOIN run_judgements r
              ON r.run_id = $run AND r.scorer_id = $scorer AND r.subject_id = t.subject_id
            LEFT JOIN judgements j ON j.judgement_id = r.judgement_id
            LEFT JOIN scores s ON s.scorer_id = $scorer AND s.subject_id = t.subject_id
            LEFT JOIN score_failures f ON f.scorer_id = $scorer AND f.subject_id = t.subject_id
            GROUP BY 1 ORDER BY 2 DESC, 1""",
        **judged.values,
    )
    return dict(rows)


def open_by_kind(database: Database, judged: Judged, batch: Batch | None = None) -> dict[str, int]:
    """The number of texts with open questions by how the last call ended; see `revisions.open_by_kind`."""
    rows = database.fetch(
        f"""WITH waiting AS (
                SELECT judgement_id AS id FROM {judged.rows}
                WHERE {_OPEN} AND ($first IS NULL OR judgement_id BETWEEN $first AND $last)
            ), last_call AS ({_LAST_CALL})
            SELECT coalesce(kind, 'not asked'), count(*) FROM waiting LEFT JOIN last_call
            USING (id) GROUP BY 1 ORDER BY 2 DESC""",
        **judged.values,
        first=batch and batch.first,
        last=batch and batch.last,
    )
    return dict(rows)


def open_causes(database: Database, judged: Judged) -> tuple[Cause, ...]:
    """The most frequent reasons why questions are open."""
    waiting = f"SELECT judgement_id AS id FROM {judged.rows} WHERE {_OPEN}"
    return largest_causes(database, f"waiting AS ({waiting}), ended AS ({_LAST_CALL})", **judged.values)


def unfit_causes(database: Database, judged: Judged) -> tuple[Cause, ...]:
    """The most frequent reasons why texts have no score and will get none."""
    final = (
        "SELECT judgement_id AS id, j.status AS kind, coalesce(j.reason, '') AS words "
        f"FROM {judged.rows} WHERE j.status <> '{JudgementStatus.JUDGED}' AND NOT {_OPEN}"
    )
    return largest_causes(database, f"ended AS ({final})", **judged.values)

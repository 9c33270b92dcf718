"""Stage grade: the scores of changed words that a run needs, those that are open, and why others have none.

A grade is open if it is pending, was sent and never answered, or failed in a way that may be tried again.
Pairs with the same question share a grade. `revisions.spent` counts the calls of both stages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from figa_core.ports import GradeRequest
from figa_core.records import GradeStatus, Purpose
from figa_core.storage.causes import Cause, largest_causes, last_call_sql
from figa_core.storage.conversations import read_messages
from figa_core.storage.database import Database, insert_rows
from figa_core.storage.revisions import Batch

_OPEN = "(g.status IN ('pending', 'submitted') OR (g.status = 'failed' AND g.retryable))"
_OF_RUN = "run_grades r JOIN word_grades g USING (grade_id) WHERE r.run_id = $run AND r.used"
_IN_BATCH = "g.grade_id BETWEEN $first AND $last"
_LAST_CALL = last_call_sql(Purpose.WORD_GRADES)
_POSSIBLE = f"""
    SELECT v.revision_id AS grade_id, p.messages, d.text AS response, coalesce(v.text, d.text) AS revision,
           a.text AS reference, [] AS words
    FROM pairs JOIN revisions v USING (revision_id) JOIN responses d ON d.response_id = v.response_id
    JOIN prompts p ON p.prompt_id = d.prompt_id
    LEFT JOIN reference_answers a ON a.reference_id = v.reference_id
    WHERE pairs.run_id = $run AND pairs.kept AND coalesce(pairs.admitted, true) AND v.revision_id > $after
      AND (v.status IN ('pending', 'submitted', 'succeeded') OR (v.status = 'failed' AND v.retryable))
      AND NOT EXISTS (
          SELECT 1 FROM run_grades r JOIN word_grades g USING (grade_id)
          WHERE r.run_id = $run AND r.used AND r.revision_id = v.revision_id AND NOT {_OPEN})"""


@dataclass(frozen=True, slots=True)
class RunGrade:
    """The grade that one pair of a run needs."""

    revision_id: str
    request: GradeRequest


def forget_requests(database: Database, run_id: str) -> None:
    """The run uses none of its grades, until `save_requests` says which."""
    database.execute("UPDATE run_grades SET used = false WHERE run_id = $run AND used", run=run_id)


def save_requests(database: Database, run_id: str, needed: Sequence[RunGrade]) -> None:
    """Record that the run uses these grades; those that the database does not have become pending."""
    grades = {
        one.request.grade_id: {
            "grade_id": one.request.grade_id,
            "words": [place for word in one.request.words for place in word],
            "status": GradeStatus.PENDING,
        }
        for one in needed
    }
    used = [
        {"run_id": run_id, "revision_id": one.revision_id, "grade_id": one.request.grade_id, "used": True}
        for one in needed
    ]
    with database.transaction() as connection:
        insert_rows(connection, "word_grades", list(grades.values()))
        insert_rows(connection, "run_grades", used, replace=True)


def batches(database: Database, run_id: str, rows: int) -> list[Batch]:
    """The run's open grades in batches of `rows`, in the order of their ids."""
    return database.records(
        Batch,
        f"""SELECT n + 1 AS number, min(grade_id) AS first, max(grade_id) AS last, count(*) AS rows
            FROM (SELECT grade_id, (row_number() OVER (ORDER BY grade_id) - 1) // $rows AS n
                  FROM (SELECT DISTINCT grade_id FROM {_OF_RUN} AND {_OPEN})) GROUP BY n ORDER BY n""",
        run=run_id,
        rows=rows,
    )


def requests(database: Database, run_id: str, batch: Batch) -> list[GradeRequest]:
    """The grades of the batch that are still open. The revision is the reviser's text."""
    return database.records(
        _request,
        f"""SELECT g.grade_id, first(p.messages) AS messages, first(d.text) AS response,
                   first(v.text) AS revision, first(a.text) AS reference, first(g.words) AS words
            FROM run_grades r JOIN word_grades g USING (grade_id)
            JOIN revisions v ON v.revision_id = r.revision_id
            JOIN responses d ON d.response_id = v.response_id JOIN prompts p ON p.prompt_id = d.prompt_id
            LEFT JOIN reference_answers a ON a.reference_id = v.reference_id
            WHERE r.run_id = $run AND r.used AND {_OPEN} AND {_IN_BATCH}
            GROUP BY g.grade_id ORDER BY g.grade_id""",
        run=run_id,
        first=batch.first,
        last=batch.last,
    )


def iter_possible(database: Database, run_id: str, page_rows: int) -> Iterator[list[GradeRequest]]:
    """What a run may still ask, a page at a time: its kept pairs that are neither graded nor left out.

    A request's id is its revision's, its words are unknown, and before the revision it is the draft.
    """
    after = ""
    while page := database.records(
        _request, f"{_POSSIBLE} ORDER BY 1 LIMIT $rows", run=run_id, after=after, rows=page_rows
    ):
        yield page
        after = page[-1].grade_id


def count_open(database: Database, run_id: str) -> int:
    """How many pairs of a run have an open grade."""
    return database.value(f"SELECT count(*) FROM {_OF_RUN} AND {_OPEN}", run=run_id)


def statuses(database: Database, run_id: str) -> dict[str, int]:
    """The number of pairs of a run by the status of their grade, the most frequent first."""
    return dict(
        database.fetch(f"SELECT g.status, count(*) FROM {_OF_RUN} GROUP BY 1 ORDER BY 2 DESC, 1", run=run_id)
    )


def open_by_kind(database: Database, run_id: str, batch: Batch | None = None) -> dict[str, int]:
    """The number of pairs with open grades by how the last call ended; see `revisions.open_by_kind`."""
    rows = database.fetch(
        f"""WITH waiting AS (
                SELECT grade_id AS id FROM {_OF_RUN} AND {_OPEN} AND ($first IS NULL OR {_IN_BATCH})
            ), last_call AS ({_LAST_CALL})
            SELECT coalesce(kind, 'not asked'), count(*) FROM waiting LEFT JOIN last_call
            USING (id) GROUP BY 1 ORDER BY 2 DESC""",
        run=run_id,
        first=batch and batch.first,
        last=batch and batch.last,
    )
    return dict(rows)


def open_causes(database: Database, run_id: str) -> tuple[Cause, ...]:
    """The most frequent reasons why grades are open."""
    waiting = f"SELECT grade_id AS id FROM {_OF_RUN} AND {_OPEN}"
    return largest_causes(database, f"waiting AS ({waiting}), ended AS ({_LAST_CALL})", run=run_id)


def fallback_causes(database: Database, run_id: str) -> tuple[Cause, ...]:
    """The most frequent reasons why pairs have no scores and will get none."""
    final = (
        f"SELECT grade_id AS id, g.status AS kind, coalesce(g.reason, '') AS words "
        f"FROM {_OF_RUN} AND g.status <> '{GradeStatus.GRADED}' AND NOT {_OPEN}"
    )
    return largest_causes(database, f"ended AS ({final})", run=run_id)


def _request(*, messages: str, words: Sequence[int], **fields: Any) -> GradeRequest:
    pairs = zip(words[::2], words[1::2], strict=True)
    return GradeRequest(messages=read_messages(messages), words=tuple(pairs), **fields)

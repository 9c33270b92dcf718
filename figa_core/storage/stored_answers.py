"""Finds stored answers of other runs to the questions of a run's open rows."""

from figa_core.records import RevisionStatus, StoredAnswer
from figa_core.storage.database import Database

# Up to release 0.1 runs with different limits shared their revisions: such a row has its own answer, and its
# reason names a limit of another run.
_ANSWERED = """
    WITH answered AS (
        SELECT v.revision_id, v.response_id, v.reference_id, first(s.revision_id ORDER BY
            s.status = 'succeeded' DESC, coalesce(s.asked_again_max, 1) DESC, s.revision_id) AS earlier
        FROM pairs JOIN revisions v USING (revision_id)
        JOIN revisions s ON coalesce(s.question_id, s.revision_id) = coalesce(v.question_id, v.revision_id)
        WHERE pairs.run_id = $run AND pairs.kept AND v.revision_id > $after
          AND (s.status IN ('succeeded', 'unchanged', 'rejected', 'refused')
               OR (s.status = 'failed' AND NOT s.retryable))
          AND CASE WHEN s.revision_id = v.revision_id
              THEN v.text IS NOT NULL
                  AND starts_with(v.reason, $limited) AND NOT starts_with(v.reason, $limited_here)
              ELSE v.status IN ('pending', 'submitted') OR (v.status = 'failed' AND v.retryable) END
        GROUP BY ALL ORDER BY 1 LIMIT $rows
    )
    SELECT w.revision_id, w.response_id, r.text, a.text, s.status, s.text, s.reason, s.attempts,
           s.asked_again_max
    FROM answered w JOIN revisions s ON s.revision_id = w.earlier
    JOIN responses r ON r.response_id = w.response_id
    LEFT JOIN reference_answers a ON a.reference_id = w.reference_id ORDER BY 1"""


def stored_answers(
    database: Database, run_id: str, *, limited: str, limited_here: str, after: str = "", rows: int = 2000
) -> list[StoredAnswer]:
    """One answer each for the next `rows` rows of the run that have one, in the order of their ids.

    `limited` is how the reason begins if a limit rejected an answer, `limited_here` if it was this run's.
    `after` is the last id of the previous page.
    """
    values = {"run": run_id, "after": after, "rows": rows, "limited": limited, "limited_here": limited_here}
    return [
        StoredAnswer(revision, response, draft, reference, RevisionStatus(status), *answer)
        for revision, response, draft, reference, status, *answer in database.fetch(_ANSWERED, **values)
    ]

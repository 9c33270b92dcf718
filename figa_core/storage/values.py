"""How the final values of what an LLM was asked for are stored, by purpose. `intake` takes them in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from figa_core.llm.calls import MARK_DIGITS
from figa_core.records import Purpose, Revision, RevisionStatus


@dataclass(frozen=True, slots=True)
class ValueTable:
    """Where values of one purpose go. The statements read the rows of a table named `incoming`.

    Attributes:
        row: a value's row, with `subject_id`, of subject, value and mark (`calls.CallAnswered`); raises
            ValueError if the value is none.
        schema: of these rows.
        known: a query for the `subject_id`s that the database knows.
        submit: marks rows as asked for; of `incoming` it needs `subject_id` only.
        store: stores values; must change nothing if the same value comes again.
    """

    row: Callable[[str, Mapping[str, Any], str | None], dict[str, Any]]
    schema: pa.Schema
    known: str
    submit: str
    store: str


def _revision_row(subject_id: str, value: Mapping[str, Any], mark: str | None) -> dict[str, Any]:
    revision = Revision.of(value)
    return {
        "subject_id": subject_id,
        "status": str(revision.status),
        "text": revision.text,
        "reason": revision.reason,
        "retryable": revision.retryable,
        "attempts": revision.attempts,
        "mark": mark,
    }


REVISIONS = ValueTable(
    _revision_row,
    pa.schema(
        [
            ("subject_id", pa.string()),
            ("status", pa.string()),
            ("text", pa.string()),
            ("reason", pa.string()),
            ("retryable", pa.bool_()),
            ("attempts", pa.int32()),
            ("mark", pa.string()),
        ]
    ),
    known="SELECT revision_id AS subject_id FROM revisions",
    submit=f"""
        UPDATE revisions SET status = '{RevisionStatus.SUBMITTED}'
        FROM (SELECT DISTINCT subject_id FROM incoming) i
        WHERE revisions.revision_id = i.subject_id AND revisions.status = '{RevisionStatus.PENDING}'""",
    # A row that has its revision keeps it: what is read again is older. A draft that another one has
    # replaced has not been revised.
    store=f"""
        UPDATE revisions SET status = i.status, text = i.text, reason = i.reason, retryable = i.retryable,
            attempts = i.attempts
        FROM incoming i WHERE revisions.revision_id = i.subject_id
        AND revisions.status NOT IN ('{RevisionStatus.SUCCEEDED}', '{RevisionStatus.UNCHANGED}')
        AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.response_id = revisions.response_id
            AND i.mark IS NOT NULL AND i.mark <> left(sha256(r.text), {MARK_DIGITS}))""",
)

VALUE_TABLES: Mapping[str, ValueTable] = {Purpose.REVISION: REVISIONS}

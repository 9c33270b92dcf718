"""Takes what the reviser's journal holds into the database: the only way revisions and calls get there.

The same code runs after every batch and at the start of a run that follows a crash. How far the journal
was taken in is stored in the same transaction as what it held, so each record counts exactly once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from figa_core.records import Revision, RevisionStatus
from figa_core.revision.calls import CallAnswered, CallRecord, CallSent, RowSettled
from figa_core.storage import journal
from figa_core.storage.database import Database, insert_rows

_MARK = "journal_offset"
_RECORDS_AT_ONCE = 5000
_TIME = pa.timestamp("us", tz="UTC")
_SENT = pa.schema(
    [
        ("call_id", pa.string()),
        ("revision_id", pa.string()),
        ("attempt", pa.int32()),
        ("sent_at", _TIME),
        ("prompt_tokens", pa.int64()),
        ("reserved_usd", pa.float64()),
        ("estimated", pa.bool_()),
    ]
)
_ANSWERED = pa.schema(
    [
        ("call_id", pa.string()),
        ("answered_at", _TIME),
        ("latency_s", pa.float64()),
        ("outcome", pa.string()),
        ("message", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("cost_usd", pa.float64()),
    ]
)
_SETTLED = pa.schema(
    [
        ("revision_id", pa.string()),
        ("status", pa.string()),
        ("text", pa.string()),
        ("reason", pa.string()),
        ("retryable", pa.bool_()),
        ("attempts", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Intake:
    """What one intake found: requests sent, answers to them, rows settled."""

    sent: int = 0
    answered: int = 0
    settled: int = 0


def take_in(database: Database, path: Path) -> Intake:
    """Store every record the database has not seen yet.

    A call that was sent and never answered stays in `calls` with its estimate, `estimated` true and no
    outcome: its cost counts as spent. A row without a settled state becomes `submitted`, to be asked again.

    Raises:
        StorageError: the journal is damaged (see `journal.read`).
    """
    with database.open() as connection:
        offset = _offset(connection)
    records = journal.read(path, offset)
    sent = answered = settled = 0
    while part := list(islice(records, _RECORDS_AT_ONCE)):
        counts = _store(database, [record for record, _ in part], part[-1][1])
        sent, answered, settled = sent + counts.sent, answered + counts.answered, settled + counts.settled
    return Intake(sent, answered, settled)


def _offset(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT value FROM marks WHERE name = ?", [_MARK]).fetchone()
    return int(row[0]) if row else 0


def _store(database: Database, records: Sequence[CallRecord], offset: int) -> Intake:
    sent = [_sent_row(r) for r in records if isinstance(r, CallSent)]
    answered = [_answered_row(r) for r in records if isinstance(r, CallAnswered)]
    # Of several states of one row the last counts: a later attempt followed a retryable failure.
    settled = {r.revision_id: _settled_row(r) for r in map(_revision, records) if r is not None}
    with database.transaction() as connection:
        insert_rows(connection, "calls", sent, _SENT)
        _update(connection, answered, _ANSWERED, _UPDATE_CALLS)
        _update(connection, sent, _SENT, _UPDATE_SUBMITTED)
        _update(connection, list(settled.values()), _SETTLED, _UPDATE_REVISIONS)
        connection.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)", [_MARK, offset])
    return Intake(len(sent), len(answered), len(settled))


_UPDATE_CALLS = """
    UPDATE calls SET answered_at = i.answered_at, latency_s = i.latency_s, outcome = i.outcome,
        message = i.message, prompt_tokens = coalesce(i.prompt_tokens, calls.prompt_tokens),
        completion_tokens = i.completion_tokens, cost_usd = i.cost_usd,
        estimated = i.prompt_tokens IS NULL
    FROM incoming i WHERE calls.call_id = i.call_id"""
_UPDATE_SUBMITTED = f"""
    UPDATE revisions SET status = '{RevisionStatus.SUBMITTED}'
    FROM (SELECT DISTINCT revision_id FROM incoming) i
    WHERE revisions.revision_id = i.revision_id AND revisions.status = '{RevisionStatus.PENDING}'"""
_UPDATE_REVISIONS = """
    UPDATE revisions SET status = i.status, text = i.text, reason = i.reason, retryable = i.retryable,
        attempts = i.attempts
    FROM incoming i WHERE revisions.revision_id = i.revision_id"""


def _update(
    connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], schema: pa.Schema, statement: str
) -> None:
    if not rows:
        return
    connection.register("incoming", pa.Table.from_pylist(rows, schema=schema))
    connection.execute(statement)
    connection.unregister("incoming")


def _sent_row(record: CallSent) -> dict[str, Any]:
    return {
        "call_id": record.call_id,
        "revision_id": record.revision_id,
        "attempt": record.attempt,
        "sent_at": datetime.fromtimestamp(record.sent_at, UTC),
        "prompt_tokens": record.estimated_tokens,
        "reserved_usd": record.reserved_usd,
        "estimated": True,
    }


def _answered_row(record: CallAnswered) -> dict[str, Any]:
    return {
        "call_id": record.call_id,
        "answered_at": datetime.fromtimestamp(record.answered_at, UTC),
        "latency_s": record.latency_s,
        "outcome": str(record.outcome),
        "message": record.message,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "cost_usd": record.cost_usd,
    }


def _revision(record: CallRecord) -> Revision | None:
    return record.revision if isinstance(record, CallAnswered | RowSettled) else None


def _settled_row(revision: Revision) -> dict[str, Any]:
    return {
        "revision_id": revision.revision_id,
        "status": str(revision.status),
        "text": revision.text,
        "reason": revision.reason,
        "retryable": revision.retryable,
        "attempts": revision.attempts,
    }

"""Takes what the reviser's journal holds into the database: the only way revisions and calls get there.

The same code runs after every batch and at the start of a run that follows a crash. How far the journal
was taken in is stored in the same transaction as what it held, so each record counts exactly once.

The journal outlives the database, which may be lost, or restored from a copy that is older. Then it holds
answers to rows that the database does not know yet: they are passed over, the place of the first is marked,
and once the rows are there `take_in(…, again=True)` reads on from that place. Reading a record again changes
nothing. An answer counts for the draft that it revised, and not for another one under the same id: a model
that samples need not say the same again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from figa_core.llm import journal
from figa_core.llm.calls import DRAFT_MARK_DIGITS, CallAnswered, CallRecord, CallSent
from figa_core.records import RevisionStatus
from figa_core.storage.database import Database, insert_rows

_LOGGER = logging.getLogger("figa_core.storage")
_OFFSET, _UNKNOWN = "journal_offset", "journal_unknown"
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
        ("draft", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Intake:
    """What one intake found: requests sent, answers to them, and rows that these settled.

    `unknown` rows are answered for and not in the database yet. `replaced`: the journal is not the one that
    was taken in before, or lacks its end; it was read from its beginning.
    """

    sent: int = 0
    answered: int = 0
    settled: int = 0
    unknown: int = 0
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class _Marks:
    """Offsets in the journal: everything before `offset` was read; at `unknown` is the first answer to a
    row that the database did not know.
    """

    offset: int = 0
    unknown: int | None = None


def take_in(database: Database, path: Path, *, again: bool = False) -> Intake:
    """Store every record the database has not seen yet.

    `again`: also look once more at the answers to rows that were not known: some may be by now.

    A call that was sent and never answered stays in `calls` with its estimate, `estimated` true and no
    outcome: its cost counts as spent. A row without a settled state becomes `submitted`, to be asked again.

    Raises:
        StorageError: the journal is damaged (see `journal.read`).
    """
    marks = _read_marks(database)
    replaced = not _continues(path, marks.offset)
    if replaced:
        _LOGGER.warning(
            "%s: not the journal that was taken in before, or without its end: read from its beginning. "
            "Answers that stood only in what is missing will be asked for again.",
            path,
        )
        marks = _Marks()
        _restart(database)
    again = again and marks.unknown is not None
    begin = marks.unknown if again and marks.unknown is not None else marks.offset
    unknown = None if again else marks.unknown
    total, start, records = Intake(replaced=replaced), begin, journal.read(path, begin)
    while part := list(islice(records, _RECORDS_AT_ONCE)):
        end = part[-1][1]
        counts, unknown = _store(database, part, start, unknown, max(end, marks.offset), looks_again=again)
        total, start = _add(total, counts), end
    return total


def _add(total: Intake, part: Intake) -> Intake:
    return Intake(
        total.sent + part.sent,
        total.answered + part.answered,
        total.settled + part.settled,
        total.unknown + part.unknown,
        total.replaced,
    )


def _read_marks(database: Database) -> _Marks:
    rows = database.fetch("SELECT name, value FROM marks WHERE name IN ($offset, $unknown)",
                          offset=_OFFSET, unknown=_UNKNOWN)  # fmt: skip
    found = {name: int(value) for name, value in rows}
    return _Marks(found.get(_OFFSET, 0), found.get(_UNKNOWN))


def _continues(path: Path, offset: int) -> bool:
    """Whether the file is the one that was read up to `offset`: there a record must have ended."""
    if offset == 0:
        return True
    try:
        with path.open("rb") as file:
            file.seek(offset - 1)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return False
    except OSError:
        return True  # unreadable: `journal.read` says how


def _restart(database: Database) -> None:
    with database.transaction() as connection:
        _write_marks(connection, _Marks())


def _write_marks(connection: duckdb.DuckDBPyConnection, marks: _Marks) -> None:
    connection.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)", [_OFFSET, marks.offset])
    if marks.unknown is None:
        connection.execute("DELETE FROM marks WHERE name = ?", [_UNKNOWN])
    else:
        connection.execute(
            "INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)", [_UNKNOWN, marks.unknown]
        )


def _store(
    database: Database,
    part: Sequence[tuple[CallRecord, int]],
    start: int,
    unknown: int | None,
    offset: int,
    *,
    looks_again: bool,
) -> tuple[Intake, int | None]:
    """Store records that begin at `start`; what they were, and where the first unknown answer is."""
    records = [record for record, _ in part]
    sent = [_sent_row(r) for r in records if isinstance(r, CallSent)]
    answered = [_answered_row(r) for r in records if isinstance(r, CallAnswered)]
    # Of several states of one row the last counts: a later attempt followed a retryable failure.
    settled = {row["revision_id"]: row for row in map(_settled_row, records) if row is not None}
    with database.transaction() as connection:
        insert_rows(connection, "calls", sent, _SENT)
        _update(connection, answered, _ANSWERED, _UPDATE_CALLS)
        _update(connection, sent, _SENT, _UPDATE_SUBMITTED)
        changed = _update(connection, list(settled.values()), _SETTLED, _UPDATE_REVISIONS)
        missing = _missing(connection, list(settled.values()))
        if unknown is None:
            unknown = _first_of(missing, part, start)
        # Looking again, a kill must not leave out what has not been looked at yet.
        here = part[-1][1] if looks_again and part[-1][1] < offset else None
        _write_marks(connection, _Marks(offset, here if unknown is None else unknown))
    return Intake(len(sent), len(answered), changed, len(missing)), unknown


def _missing(connection: duckdb.DuckDBPyConnection, settled: list[dict[str, Any]]) -> set[str]:
    """Rows that are answered for and not in the database."""
    if not settled:
        return set()
    connection.register("incoming", pa.Table.from_pylist(settled, schema=_SETTLED))
    rows = connection.execute("SELECT revision_id FROM incoming ANTI JOIN revisions USING (revision_id)")
    missing = {revision_id for (revision_id,) in rows.fetchall()}
    connection.unregister("incoming")
    return missing


def _first_of(missing: set[str], part: Sequence[tuple[CallRecord, int]], start: int) -> int | None:
    """Where the first record about one of these rows begins."""
    for record, end in part:
        row = _settled_row(record) if missing else None
        if row is not None and row["revision_id"] in missing:
            return start
        start = end
    return None


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
# A row that has its revision keeps it: what is read again is older. A draft that another one has replaced
# has not been revised.
_UPDATE_REVISIONS = f"""
    UPDATE revisions SET status = i.status, text = i.text, reason = i.reason, retryable = i.retryable,
        attempts = i.attempts
    FROM incoming i WHERE revisions.revision_id = i.revision_id
    AND revisions.status NOT IN ('{RevisionStatus.SUCCEEDED}', '{RevisionStatus.UNCHANGED}')
    AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.response_id = revisions.response_id
        AND i.draft IS NOT NULL AND i.draft <> left(sha256(r.text), {DRAFT_MARK_DIGITS}))"""


def _update(
    connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], schema: pa.Schema, statement: str
) -> int:
    """How many rows of the table changed."""
    if not rows:
        return 0
    connection.register("incoming", pa.Table.from_pylist(rows, schema=schema))
    changed = connection.execute(statement).fetchone()
    connection.unregister("incoming")
    return int(changed[0]) if changed else 0


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


def _settled_row(record: CallRecord) -> dict[str, Any] | None:
    """The row's final state, if the record holds one."""
    if isinstance(record, CallSent) or (revision := record.revision) is None:
        return None
    return {
        "revision_id": revision.revision_id,
        "status": str(revision.status),
        "text": revision.text,
        "reason": revision.reason,
        "retryable": revision.retryable,
        "attempts": revision.attempts,
        "draft": record.draft,
    }

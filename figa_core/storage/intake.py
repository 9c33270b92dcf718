"""Takes what the answer journal holds into the database: the only way calls and their values get there.

The same code runs after every batch and at the start of a run that follows a crash. How far the journal
was taken in is stored in the same transaction as what it held, so each record counts exactly once.

The journal outlives the database, which may be lost, or restored from a copy that is older. Then it holds
answers to rows that the database does not know yet: they are passed over, the place of the first is marked,
and once the rows are there `take_in(…, again=True)` reads on from that place. Reading a record again changes
nothing. An answer counts for the text that was asked about, and not for another one under the same id: a
model that samples need not say the same again. Where the values of each purpose go is said in `values`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from figa_core.errors import StorageError
from figa_core.llm import journal
from figa_core.llm.calls import CallAnswered, CallRecord, CallSent
from figa_core.storage.database import Database, insert_rows
from figa_core.storage.values import VALUE_TABLES, ValueTable

_LOGGER = logging.getLogger("figa_core.storage")
_OFFSET, _UNKNOWN = "journal_offset", "journal_unknown"
_RECORDS_AT_ONCE = 5000
_TIME = pa.timestamp("us", tz="UTC")
_SENT = pa.schema(
    [
        ("call_id", pa.string()),
        ("purpose", pa.string()),
        ("subject_id", pa.string()),
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
_UPDATE_CALLS = """
    UPDATE calls SET answered_at = i.answered_at, latency_s = i.latency_s, outcome = i.outcome,
        message = i.message, prompt_tokens = coalesce(i.prompt_tokens, calls.prompt_tokens),
        completion_tokens = i.completion_tokens, cost_usd = i.cost_usd,
        estimated = i.prompt_tokens IS NULL
    FROM incoming i WHERE calls.call_id = i.call_id"""


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


def take_in(
    database: Database,
    path: Path,
    *,
    again: bool = False,
    tables: Mapping[str, ValueTable] = VALUE_TABLES,
) -> Intake:
    """Store every record the database has not seen yet.

    `again`: also look once more at the answers to rows that were not known: some may be by now. `tables`:
    where the values of each purpose go.

    A call that was sent and never answered stays in `calls` with its estimate, `estimated` true and no
    outcome: its cost counts as spent. A row without a settled state becomes `submitted`, to be asked again.

    Raises:
        StorageError: the journal is damaged (see `journal.read`), or holds values of an unknown purpose.
    """
    marks = _read_marks(database)
    replaced = not _continues(path, marks.offset)
    if replaced:
        _LOGGER.warning(
            "%s: not the journal that was taken in before, or without its end: read from its beginning. "
            "Answers that were only in what is missing will be asked for again.",
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
        settled = list(_settled(path, part, start, tables))
        # Looking again, a kill must not leave out what has not been looked at yet.
        left = end if again and end < marks.offset else None
        offset = max(end, marks.offset)
        records_of_part = [record for record, _ in part]
        marked = _Marks(offset, unknown)
        counts, unknown = _store(database, records_of_part, settled, marked, left, tables)
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


@dataclass(frozen=True, slots=True)
class _Settled:
    """A final value: its row, and where in the journal its record begins."""

    purpose: str
    row: dict[str, Any]
    start: int

    @property
    def subject(self) -> tuple[str, str]:
        """What it is the value of."""
        return self.purpose, self.row["subject_id"]


def _settled(
    path: Path, part: Sequence[tuple[CallRecord, int]], start: int, tables: Mapping[str, ValueTable]
) -> Iterator[_Settled]:
    """The values among records that begin at `start`."""
    for record, end in part:
        if not isinstance(record, CallSent) and record.value is not None:
            table = tables.get(record.purpose)
            if table is None:
                raise StorageError(
                    f"{path}: it holds answers for {record.purpose!r}, which this version cannot store. A "
                    "newer one wrote them: update figa, or use another workspace."
                )
            try:
                row = table.row(record.subject_id, record.value, record.mark)
            except ValueError as error:
                raise journal.damaged(path, start, error) from error
            yield _Settled(record.purpose, row, start)
        start = end


def _store(
    database: Database,
    records: Sequence[CallRecord],
    settled: Sequence[_Settled],
    marks: _Marks,
    left: int | None,
    tables: Mapping[str, ValueTable],
) -> tuple[Intake, int | None]:
    """Store records and the values in them; what they were, and where the first unknown answer is.

    `left`: where to look again after a kill if there is none.
    """
    sent = [_sent_row(r) for r in records if isinstance(r, CallSent)]
    answered = [_answered_row(r) for r in records if isinstance(r, CallAnswered)]
    # Of several values of one subject the last counts: a later attempt followed a retryable failure.
    last = {one.subject: one for one in settled}
    changed, missing = 0, set[tuple[str, str]]()
    with database.transaction() as connection:
        insert_rows(connection, "calls", sent, _SENT)
        _update(connection, answered, _ANSWERED, _UPDATE_CALLS)
        for purpose, table in tables.items():
            _update(connection, [row for row in sent if row["purpose"] == purpose], _SENT, table.submit)
            rows = [one.row for one in last.values() if one.purpose == purpose]
            changed += _update(connection, rows, table.schema, table.store)
            missing |= {(purpose, subject_id) for subject_id in _missing(connection, rows, table)}
        unknown = marks.unknown
        if unknown is None:
            unknown = next((one.start for one in settled if one.subject in missing), None)
        _write_marks(connection, _Marks(marks.offset, left if unknown is None else unknown))
    return Intake(len(sent), len(answered), changed, len(missing)), unknown


def _missing(
    connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], table: ValueTable
) -> set[str]:
    """Subjects that have a value and are not in the database."""
    if not rows:
        return set()
    connection.register("incoming", pa.Table.from_pylist(rows, schema=table.schema))
    found = connection.execute(
        f"SELECT subject_id FROM incoming ANTI JOIN ({table.known}) USING (subject_id)"
    ).fetchall()
    connection.unregister("incoming")
    return {subject_id for (subject_id,) in found}


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
        "purpose": record.purpose,
        "subject_id": record.subject_id,
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

"""Copies the answer journal into the database: the only way calls and their values get there.

The same code runs after every batch, and at the start of a run that follows a crash. The position reached in
the journal is stored in the same transaction as the records, so each record counts exactly once.

The journal outlives the database, which may be lost, or restored from an older copy. Then the journal holds
answers for rows that the database does not have yet: they are skipped, and the position of the first is
stored. Once the rows exist, `take_in(…, again=True)` reads from that position; reading a record twice changes
nothing. An answer counts only for the text that it was asked for, not for another text with the same id: a
model may sample another response. `values` defines where the values of each purpose are stored.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import duckdb

from figa_core.errors import StorageError
from figa_core.llm import journal
from figa_core.llm.calls import CallAnswered, CallRecord, CallSent
from figa_core.storage.database import Database, Row, as_row, changed_rows, query_rows
from figa_core.storage.values import VALUE_TABLES, ValueTable

_LOGGER = logging.getLogger("figa_core.storage")
# Positions in the journal: the end of what was read, and the first answer for an unknown row.
_OFFSET, _UNKNOWN = "journal_offset", "journal_unknown"
_RECORDS_AT_ONCE = 5000
_INSERT_CALLS = """
    INSERT OR IGNORE INTO calls
        (call_id, purpose, subject_id, attempt, sent_at, prompt_tokens, reserved_usd, estimated)
    SELECT call_id, purpose, subject_id, attempt, to_timestamp(sent_at), estimated_tokens, reserved_usd, true
    FROM incoming"""
_UPDATE_CALLS = """
    UPDATE calls SET answered_at = to_timestamp(i.answered_at), latency_s = i.latency_s, outcome = i.outcome,
        message = i.message, prompt_tokens = coalesce(i.prompt_tokens, calls.prompt_tokens),
        completion_tokens = i.completion_tokens, cost_usd = i.cost_usd,
        estimated = i.prompt_tokens IS NULL
    FROM incoming i WHERE calls.call_id = i.call_id"""


@dataclass(frozen=True, slots=True)
class Intake:
    """Counts of one intake: requests sent, answers to them, and rows that the answers settled.

    `unknown` counts answers for rows that the database does not have yet. `replaced`: the journal is not the
    one that was read before, or lacks its end, so it was read from its beginning.
    """

    sent: int = 0
    answered: int = 0
    settled: int = 0
    unknown: int = 0
    replaced: bool = False


def take_in(
    database: Database, path: Path, *, again: bool = False, tables: Mapping[str, ValueTable] = VALUE_TABLES
) -> Intake:
    """Store every record of the journal that the database does not have yet.

    `again`: also try the answers for unknown rows again, which may exist by now. `tables`: where the values
    of each purpose are stored.

    A call that was sent and never answered stays in `calls` with its estimate, `estimated` true and no
    outcome: its cost counts as spent. A row without a final value becomes `submitted`, to be asked for again.

    Raises:
        StorageError: the journal is damaged (see `journal.read`), or holds values of an unknown purpose.
    """
    found = dict(database.fetch("SELECT name, value FROM marks"))
    read, unknown = found.get(_OFFSET, 0), found.get(_UNKNOWN)
    replaced = not _continues(path, read)
    if replaced:
        _LOGGER.warning(
            "%s: not the journal that was read before, or its end is missing: read from its beginning. "
            "Answers that were only in the missing part will be asked for again.",
            path,
        )
        read, unknown = 0, None
        with database.transaction() as connection:
            _write_marks(connection, read, unknown)
    start, total = read, Counter[str]()
    if again and unknown is not None:
        start, unknown = unknown, None
    records = journal.read(path, start)
    while part := list(islice(records, _RECORDS_AT_ONCE)):
        end = part[-1][1]
        settled = list(_settled(path, part, start, tables))
        with database.transaction() as connection:
            counts, first_unknown = _store(connection, [record for record, _ in part], settled, tables)
            unknown = first_unknown if unknown is None else unknown
            # After a kill in a second reading, the rest of it must not be skipped.
            rest = end if end < read else None
            _write_marks(connection, max(end, read), rest if unknown is None else unknown)
        total.update(counts)
        start = end
    return Intake(**total, replaced=replaced)


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
        return True  # unreadable: `journal.read` explains why


def _write_marks(connection: duckdb.DuckDBPyConnection, offset: int, unknown: int | None) -> None:
    connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", [_OFFSET, offset])
    if unknown is None:
        connection.execute("DELETE FROM marks WHERE name = ?", [_UNKNOWN])
    else:
        connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", [_UNKNOWN, unknown])


@dataclass(frozen=True, slots=True)
class _Settled:
    """A final value: its row, and the position of its record in the journal."""

    purpose: str
    row: Row
    start: int

    @property
    def subject(self) -> tuple[str, str]:
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
    connection: duckdb.DuckDBPyConnection,
    records: Sequence[CallRecord],
    settled: Sequence[_Settled],
    tables: Mapping[str, ValueTable],
) -> tuple[Counter[str], int | None]:
    """Store records and their values; returns counts, and where the first answer for an unknown row is."""
    sent = [as_row(record) for record in records if isinstance(record, CallSent)]
    answered = [as_row(replace(record, value=None)) for record in records if isinstance(record, CallAnswered)]
    changed_rows(connection, sent, _INSERT_CALLS)
    changed_rows(connection, answered, _UPDATE_CALLS)
    # Of several values of one subject the last counts: a later attempt followed a retryable failure.
    last = {one.subject: one for one in settled}
    changed, missing = 0, set[tuple[str, str]]()
    for purpose, table in tables.items():
        changed_rows(connection, [row for row in sent if row["purpose"] == purpose], table.submit)
        rows = [one.row for one in last.values() if one.purpose == purpose]
        changed += changed_rows(connection, rows, table.store)
        query = f"SELECT subject_id FROM incoming ANTI JOIN ({table.known}) USING (subject_id)"
        missing |= {(purpose, subject_id) for (subject_id,) in query_rows(connection, rows, query)}
    first_unknown = next((one.start for one in settled if one.subject in missing), None)
    counts = Counter(sent=len(sent), answered=len(answered), settled=changed, unknown=len(missing))
    return counts, first_unknown

"""Journals of calls for revisions, and a database with two pending ones: for tests."""

import asyncio
from pathlib import Path

import pytest

from figa_core.llm.calls import CallAnswered, CallOutcome, CallRecord, CallSent
from figa_core.llm.journal import AnswerJournal
from figa_core.records import Revision, RevisionStatus
from figa_core.storage.database import Database
from tests.figa_core.storage.empty import new_database

SENT_AT = 1_700_000_000.0


def write(path: Path, *records: CallRecord) -> Path:
    async def append_all() -> None:
        async with AnswerJournal(path) as journal:
            for record in records:
                await journal.append(record)

    asyncio.run(append_all())
    return path


def sent(call: str, revision: str, attempt: int = 1) -> CallSent:
    return CallSent(call, "revision", revision, attempt, SENT_AT, estimated_tokens=120)


def answered(call: str, revision: str, status: RevisionStatus, *, usage: int | None = 77) -> CallAnswered:
    settled = Revision(revision, f"response-of-{revision}", status, text="better", attempts=1)
    ended = (SENT_AT + 1, 1.0, CallOutcome.ANSWERED, None, usage, usage)
    return CallAnswered(call, "revision", revision, 1, *ended, value=settled)


def add_row(database: Database, name: str) -> None:
    """A pending revision of a response that is not in the database."""
    database.execute(
        "INSERT INTO revisions (revision_id, response_id, model, status) "
        "VALUES ($name, 'response-of-' || $name, 'm', 'pending')",
        name=name,
    )


@pytest.fixture(name="database")
def pending_database(tmp_path: Path) -> Database:
    database = new_database(tmp_path / "figa.duckdb")
    for name in ("first", "second"):
        add_row(database, name)
    return database

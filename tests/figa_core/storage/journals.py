"""Journals of calls about revisions: for tests."""

import asyncio
from pathlib import Path

import pytest

from figa_core.llm.calls import CallAnswered, CallOutcome, CallRecord, CallSent
from figa_core.llm.journal import AnswerJournal
from figa_core.records import Revision, RevisionStatus
from figa_core.storage.database import Database

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
    return CallAnswered(
        call,
        "revision",
        revision,
        1,
        SENT_AT + 1,
        1.0,
        CallOutcome.ANSWERED,
        prompt_tokens=usage,
        completion_tokens=usage,
        value=settled,
    )


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.open() as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(name="database")
def pending_database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "figa.duckdb")
    database.create()
    with database.open() as connection:
        for name in ("first", "second"):
            connection.execute(
                "INSERT INTO revisions (revision_id, response_id, model, status) "
                "VALUES (?, ?, 'm', 'pending')",
                [name, f"response-of-{name}"],
            )
    return database

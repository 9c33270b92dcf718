"""The journal's way into the database: exactly once, whatever the order of crashes."""

import asyncio
from pathlib import Path

import pytest

from figa_core.records import Revision, RevisionStatus
from figa_core.revision.calls import CallAnswered, CallOutcome, CallRecord, CallSent, RowSettled
from figa_core.storage.database import Database
from figa_core.storage.intake import Intake, take_in
from figa_core.storage.journal import AnswerJournal

SENT_AT = 1_700_000_000.0


@pytest.fixture
def database(tmp_path: Path) -> Database:
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


def write(path: Path, *records: CallRecord) -> Path:
    async def append_all() -> None:
        async with AnswerJournal(path) as journal:
            for record in records:
                await journal.append(record)

    asyncio.run(append_all())
    return path


def sent(call: str, revision: str, attempt: int = 1) -> CallSent:
    return CallSent(call, revision, attempt, SENT_AT, estimated_tokens=120)


def answered(call: str, revision: str, status: RevisionStatus, *, usage: int | None = 77) -> CallAnswered:
    settled = Revision(revision, f"response-of-{revision}", status, text="better", attempts=1)
    return CallAnswered(
        call,
        revision,
        settled.response_id,
        1,
        SENT_AT + 1,
        1.0,
        CallOutcome.ANSWERED,
        prompt_tokens=usage,
        completion_tokens=usage,
        revision=settled,
    )


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.open() as connection:
        return connection.execute(query).fetchall()


def test_an_answer_settles_its_row_and_its_call(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", sent("c1", "first"), answered("c1", "first", RevisionStatus.SUCCEEDED))

    assert take_in(database, path) == Intake(sent=1, answered=1, settled=1)

    assert rows(database, "SELECT revision_id, status, text FROM revisions ORDER BY 1") == [
        ("first", "succeeded", "better"),
        ("second", "pending", None),
    ]
    assert rows(database, "SELECT outcome, prompt_tokens, estimated, latency_s FROM calls") == [
        ("answered", 77, False, 1.0)
    ]


def test_a_request_without_an_answer_stands_as_an_estimate_and_its_row_may_be_asked_again(
    database: Database, tmp_path: Path
) -> None:
    take_in(database, write(tmp_path / "j.jsonl", sent("c1", "first")))

    assert rows(database, "SELECT outcome, prompt_tokens, estimated FROM calls") == [(None, 120, True)]
    assert rows(database, "SELECT status FROM revisions WHERE revision_id = 'first'") == [("submitted",)]


def test_an_answer_without_usage_keeps_the_estimate_marked(database: Database, tmp_path: Path) -> None:
    silent = answered("c1", "first", RevisionStatus.SUCCEEDED, usage=None)
    take_in(database, write(tmp_path / "j.jsonl", sent("c1", "first"), silent))

    assert rows(database, "SELECT prompt_tokens, estimated FROM calls") == [(120, True)]


def test_what_was_taken_in_once_is_not_taken_in_again(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", sent("c1", "first"))
    take_in(database, path)
    assert take_in(database, path) == Intake()

    write(path, answered("c1", "first", RevisionStatus.SUCCEEDED))
    assert take_in(database, path) == Intake(sent=0, answered=1, settled=1)


def test_of_several_states_of_a_row_the_last_counts(database: Database, tmp_path: Path) -> None:
    failed = Revision("first", "response-of-first", RevisionStatus.FAILED, reason="down", retryable=True)
    path = write(
        tmp_path / "j.jsonl",
        RowSettled(SENT_AT, failed),
        sent("c2", "first"),
        answered("c2", "first", RevisionStatus.UNCHANGED),
    )
    take_in(database, path)
    assert rows(database, "SELECT status, retryable FROM revisions WHERE revision_id = 'first'") == [
        ("unchanged", False)
    ]


def test_a_missing_journal_is_an_empty_one(database: Database, tmp_path: Path) -> None:
    assert take_in(database, tmp_path / "none.jsonl") == Intake()


def test_a_journal_torn_by_a_kill_is_taken_in_up_to_the_tear(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", sent("c1", "first"), sent("c2", "second"))
    path.write_bytes(path.read_bytes()[:-10])

    assert take_in(database, path).sent == 1

    write(path, sent("c3", "second"))
    assert take_in(database, path).sent == 1

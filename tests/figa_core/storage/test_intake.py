"""The journal's way into the database: exactly once, whatever the order of crashes."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.llm.calls import CallAnswered, CallOutcome, RowSettled
from figa_core.records import Revision, RevisionStatus
from figa_core.storage.database import Database
from figa_core.storage.intake import Intake, take_in
from tests.figa_core.storage.journals import (  # noqa: F401 - one is a fixture
    SENT_AT,
    answered,
    pending_database,
    rows,
    sent,
    write,
)


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


def test_everything_that_a_record_says_is_stored_and_its_times_in_utc(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = CallAnswered(
        "c1",
        "revision",
        "first",
        3,
        SENT_AT + 2.5,
        2.25,
        CallOutcome.SERVER_ERROR,
        message="HTTP 500",
        prompt_tokens=70,
        completion_tokens=80,
        value=Revision("first", "response-of-first", RevisionStatus.FAILED, "text", "down", True, 3),
        cost_usd=0.25,
    )
    path = write(tmp_path / "j.jsonl", replace(sent("c1", "first", 3), reserved_usd=0.5), end)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        take_in(database, path)
    finally:
        monkeypatch.undo()
        time.tzset()

    [call] = rows(
        database,
        "SELECT purpose, subject_id, attempt, epoch(sent_at), epoch(answered_at), latency_s, outcome, "
        "message, prompt_tokens, completion_tokens, estimated, reserved_usd, cost_usd FROM calls",
    )
    assert call[:6] == ("revision", "first", 3, SENT_AT, SENT_AT + 2.5, 2.25)
    assert call[6:] == ("server_error", "HTTP 500", 70, 80, False, 0.5, 0.25)
    settled = "SELECT status, text, reason, retryable, attempts FROM revisions WHERE revision_id = 'first'"
    assert rows(database, settled) == [("failed", "text", "down", True, 3)]


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
        RowSettled(SENT_AT, "revision", "first", failed),
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

"""The journal is copied into the database exactly once, whatever the order of crashes."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import StorageError
from figa_core.llm.calls import CallAnswered, CallOutcome, RowSettled
from figa_core.records import Revision, RevisionStatus
from figa_core.storage.database import Database
from figa_core.storage.intake import Intake, take_in
from tests.figa_core.storage.journals import (  # noqa: F401 - one is a fixture
    SENT_AT,
    answered,
    pending_database,
    sent,
    write,
)


def test_an_answer_settles_its_row_and_its_call(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", sent("c1", "first"), answered("c1", "first", RevisionStatus.SUCCEEDED))

    assert take_in(database, path) == Intake(sent=1, answered=1, settled=1)

    assert database.fetch("SELECT revision_id, status, text FROM revisions ORDER BY 1") == [
        ("first", "succeeded", "better"),
        ("second", "pending", None),
    ]
    assert database.fetch("SELECT outcome, prompt_tokens, estimated, latency_s FROM calls") == [
        ("answered", 77, False, 1.0)
    ]


def test_every_field_of_a_record_is_stored_and_its_times_in_utc(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = Revision("first", "response-of-first", RevisionStatus.FAILED, "text", "down", True, 3)
    ended = (SENT_AT + 2.5, 2.25, CallOutcome.SERVER_ERROR, "HTTP 500", 70, 80)
    end = CallAnswered("c1", "revision", "first", 3, *ended, settled, cost_usd=0.25)
    path = write(tmp_path / "j.jsonl", replace(sent("c1", "first", 3), reserved_usd=0.5), end)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        take_in(database, path)
    finally:
        monkeypatch.undo()
        time.tzset()

    [call] = database.fetch(
        "SELECT purpose, subject_id, attempt, epoch(sent_at), epoch(answered_at), latency_s, outcome, "
        "message, prompt_tokens, completion_tokens, estimated, reserved_usd, cost_usd FROM calls",
    )
    assert call[:6] == ("revision", "first", 3, SENT_AT, SENT_AT + 2.5, 2.25)
    assert call[6:] == ("server_error", "HTTP 500", 70, 80, False, 0.5, 0.25)
    settled = "SELECT status, text, reason, retryable, attempts FROM revisions WHERE revision_id = 'first'"
    assert database.fetch(settled) == [("failed", "text", "down", True, 3)]


def test_a_request_without_an_answer_is_an_estimate_and_its_row_may_be_asked_for_again(
    database: Database, tmp_path: Path
) -> None:
    take_in(database, write(tmp_path / "j.jsonl", sent("c1", "first")))

    assert database.fetch("SELECT outcome, prompt_tokens, estimated FROM calls") == [(None, 120, True)]
    assert database.fetch("SELECT status FROM revisions WHERE revision_id = 'first'") == [("submitted",)]


def test_an_answer_without_usage_keeps_the_estimate_marked(database: Database, tmp_path: Path) -> None:
    silent = answered("c1", "first", RevisionStatus.SUCCEEDED, usage=None)
    take_in(database, write(tmp_path / "j.jsonl", sent("c1", "first"), silent))

    assert database.fetch("SELECT prompt_tokens, estimated FROM calls") == [(120, True)]


def test_a_record_is_not_stored_twice(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", sent("c1", "first"))
    take_in(database, path)
    assert take_in(database, path) == Intake()

    write(path, answered("c1", "first", RevisionStatus.SUCCEEDED))
    assert take_in(database, path) == Intake(sent=0, answered=1, settled=1)


def test_the_last_of_several_values_of_a_row_counts(database: Database, tmp_path: Path) -> None:
    failed = Revision("first", "response-of-first", RevisionStatus.FAILED, reason="down", retryable=True)
    path = write(
        tmp_path / "j.jsonl",
        RowSettled(SENT_AT, "revision", "first", failed),
        sent("c2", "first"),
        answered("c2", "first", RevisionStatus.UNCHANGED),
    )
    take_in(database, path)
    assert database.fetch("SELECT status, retryable FROM revisions WHERE revision_id = 'first'") == [
        ("unchanged", False)
    ]


@pytest.mark.parametrize("wrong", [{"text": 5}, {"reason": []}, {"retryable": None}, {"attempts": "one"}])
def test_a_value_of_a_wrong_type_is_damage(database: Database, tmp_path: Path, wrong: dict[str, Any]) -> None:
    settled = replace(Revision("first", "response-of-first", RevisionStatus.FAILED), **wrong)
    path = write(tmp_path / "j.jsonl", RowSettled(SENT_AT, "revision", "first", settled))
    with pytest.raises(StorageError, match=f"line 1: damaged record .*wrong type of {next(iter(wrong))}"):
        take_in(database, path)


def test_a_missing_journal_is_an_empty_one(database: Database, tmp_path: Path) -> None:
    assert take_in(database, tmp_path / "none.jsonl") == Intake()


def test_a_journal_that_a_kill_cut_short_is_stored_up_to_there(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", sent("c1", "first"), sent("c2", "second"))
    path.write_bytes(path.read_bytes()[:-10])

    assert take_in(database, path).sent == 1

    write(path, sent("c3", "second"))
    assert take_in(database, path).sent == 1

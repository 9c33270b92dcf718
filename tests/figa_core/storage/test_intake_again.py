"""A database that was lost, or is older than the journal, gets back what was answered."""

from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.errors import StorageError
from figa_core.llm.calls import CallRecord, RowSettled, text_mark
from figa_core.records import Revision, RevisionStatus
from figa_core.storage import intake
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


def new_database(path: Path) -> Database:
    database = Database(path)
    database.create()
    return database


def add_row(database: Database, name: str, draft: str | None = None) -> None:
    with database.open() as connection:
        connection.execute(
            "INSERT INTO revisions (revision_id, response_id, model, status) VALUES (?, ?, 'm', 'pending')",
            [name, f"response-of-{name}"],
        )
        if draft is not None:
            connection.execute(
                "INSERT INTO responses VALUES (?, 'p', 'g', 0, ?, [], 'stop')", [f"response-of-{name}", draft]
            )


def answered_for(name: str, draft: str, text: str = "better") -> list[CallRecord]:
    call = f"call-{name}-{draft}"
    end = answered(call, name, RevisionStatus.SUCCEEDED)
    settled = replace(end.value, text=text)
    priced = replace(end, value=settled, cost_usd=0.25, mark=text_mark(draft))
    return [replace(sent(call, name), reserved_usd=1.0), priced]


def texts(database: Database) -> dict[object, object]:
    return dict(rows(database, "SELECT revision_id, text FROM revisions"))  # type: ignore[arg-type]


def test_answers_to_rows_that_are_not_there_yet_are_taken_in_once_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a"), *answered_for("second", "b"))
    database = new_database(tmp_path / "figa.duckdb")

    assert take_in(database, path, again=True) == Intake(sent=2, answered=2, unknown=2)
    assert rows(database, "SELECT sum(coalesce(cost_usd, reserved_usd)) FROM calls") == [(0.5,)]

    add_row(database, "second", "b")
    assert take_in(database, path) == Intake()  # after a batch only what is new is read
    assert take_in(database, path, again=True).settled == 1
    assert texts(database) == {"second": "better"}

    add_row(database, "first", "a")
    assert take_in(database, path, again=True).settled == 1
    assert texts(database) == {"first": "better", "second": "better"}
    assert rows(database, "SELECT count(*), sum(cost_usd) FROM calls") == [(2, 0.5)]
    assert take_in(database, path, again=True) == Intake()


def test_what_comes_after_unknown_answers_is_taken_in_as_ever(tmp_path: Path, database: Database) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("third", "c"))
    take_in(database, path)
    write(path, *answered_for("first", "a"))
    assert take_in(database, path) == Intake(sent=1, answered=1, settled=1)
    add_row(database, "third")
    assert take_in(database, path, again=True).settled == 1


def test_an_answer_counts_for_the_draft_that_it_revised_and_for_no_other(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a draft"), *answered_for("second", "b"))
    database = new_database(tmp_path / "figa.duckdb")
    take_in(database, path)
    add_row(database, "first", "another draft of the same sample")
    add_row(database, "second", "b")
    take_in(database, path, again=True)
    assert texts(database) == {"first": None, "second": "better"}
    assert take_in(database, path, again=True) == Intake()  # nothing is unknown: it is asked for anew

    write(path, *answered_for("first", "another draft of the same sample", "fits"))
    take_in(database, path)
    assert texts(database)["first"] == "fits"


def test_an_answer_of_a_journal_without_marks_counts_as_it_did(tmp_path: Path) -> None:
    old = replace(answered("c1", "first", RevisionStatus.SUCCEEDED), mark=None)
    path = write(tmp_path / "j.jsonl", sent("c1", "first"), old)
    database = new_database(tmp_path / "figa.duckdb")
    take_in(database, path)
    add_row(database, "first", "any draft")
    assert take_in(database, path, again=True).settled == 1


def test_a_database_from_an_older_copy_gets_what_came_after_it(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a"))
    database = new_database(tmp_path / "figa.duckdb")
    add_row(database, "first", "a")
    take_in(database, path)
    copy = (tmp_path / "figa.duckdb").read_bytes()
    add_row(database, "second", "b")
    write(path, *answered_for("second", "b"))
    take_in(database, path)
    (tmp_path / "figa.duckdb").write_bytes(copy)

    assert take_in(database, path, again=True) == Intake(sent=1, answered=1, unknown=1)
    add_row(database, "second", "b")
    take_in(database, path, again=True)
    assert texts(database) == {"first": "better", "second": "better"}


@pytest.mark.parametrize(("at_once", "known"), [(1, 4), (4, 2)])
def test_what_was_looked_at_again_before_a_kill_is_known_and_the_rest_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, known: int
) -> None:
    names = [f"row-{number}" for number in range(6)]
    path = write(tmp_path / "j.jsonl", *(record for name in names for record in answered_for(name, name)))
    database = new_database(tmp_path / "figa.duckdb")
    monkeypatch.setattr(intake, "_RECORDS_AT_ONCE", at_once)
    take_in(database, path)
    for name in names:
        add_row(database, name, name)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    damaged = whole.replace(lines[8], b"#" + lines[8][1:])  # ends the second look in the middle
    path.write_bytes(damaged)
    with pytest.raises(StorageError, match="line 9"):
        take_in(database, path, again=True)
    path.write_bytes(whole)
    assert len([text for text in texts(database).values() if text]) == known
    assert take_in(database, path, again=True).settled == 6 - known
    assert set(texts(database).values()) == {"better"}


def test_a_torn_end_is_left_out_of_a_new_database_too(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a"), *answered_for("second", "b"))
    path.write_bytes(path.read_bytes()[:-10])
    database = new_database(tmp_path / "figa.duckdb")
    for name in ("first", "second"):
        add_row(database, name)
    assert take_in(database, path, again=True) == Intake(sent=2, answered=1, settled=1)
    # The call without its answer counts as what it may have cost.
    assert rows(database, "SELECT sum(coalesce(cost_usd, reserved_usd)) FROM calls") == [(1.25,)]


@pytest.mark.parametrize("left", [None, b"", b'{"kind"'], ids=["gone", "empty", "cut"])
def test_a_lost_journal_costs_nothing_that_is_in_the_database(
    tmp_path: Path, database: Database, left: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a"))
    take_in(database, path)
    path.unlink()
    if left is not None:
        path.write_bytes(left)

    assert take_in(database, path, again=True).replaced
    assert f"{path}: not the journal that was taken in before" in caplog.text
    assert texts(database)["first"] == "better"
    write(path, *answered_for("second", "b"))
    assert take_in(database, path) == Intake(sent=1, answered=1, settled=1)
    assert rows(database, "SELECT count(*) FROM calls") == [(2,)]


def test_an_older_journal_takes_no_revision_back(tmp_path: Path, database: Database) -> None:
    failed = Revision("first", "response-of-first", RevisionStatus.FAILED, reason="down", retryable=True)
    path = write(tmp_path / "j.jsonl", RowSettled(SENT_AT, "revision", "first", failed))
    older = path.read_bytes()
    write(path, *answered_for("first", "a"))
    take_in(database, path)
    path.write_bytes(older)
    assert take_in(database, path).replaced
    assert rows(database, "SELECT status FROM revisions WHERE revision_id = 'first'") == [("succeeded",)]

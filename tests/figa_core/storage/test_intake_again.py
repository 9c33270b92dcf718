"""A database that was lost, or is older than the journal, gets its answers back."""

from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.errors import StorageError
from figa_core.llm.calls import CallRecord, RowSettled, text_mark
from figa_core.records import Revision, RevisionStatus
from figa_core.storage import intake
from figa_core.storage.database import Database
from figa_core.storage.intake import Intake, take_in
from tests.figa_core.storage.empty import new_database
from tests.figa_core.storage.journals import (  # noqa: F401 - one is a fixture
    SENT_AT,
    add_row,
    answered,
    pending_database,
    sent,
    write,
)


def add_draft(database: Database, name: str, draft: str) -> None:
    """A pending revision of this draft."""
    add_row(database, name)
    database.execute(
        "INSERT INTO responses VALUES ('response-of-' || $name, 'p', 'g', 0, $draft, [], 'stop', NULL, NULL)",
        name=name,
        draft=draft,
    )


def answered_for(name: str, draft: str, text: str = "better") -> list[CallRecord]:
    call = f"call-{name}-{draft}"
    end = answered(call, name, RevisionStatus.SUCCEEDED)
    settled = replace(end.value, text=text)
    priced = replace(end, value=settled, cost_usd=0.25, mark=text_mark(draft))
    return [replace(sent(call, name), reserved_usd=1.0), priced]


def texts(database: Database) -> dict[str, str | None]:
    return dict(database.fetch("SELECT revision_id, text FROM revisions"))


def test_answers_for_unknown_rows_are_stored_once_the_rows_exist(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a"), *answered_for("second", "b"))
    database = new_database(tmp_path / "figa.duckdb")

    assert take_in(database, path, again=True) == Intake(sent=2, answered=2, unknown=2)
    assert database.fetch("SELECT sum(coalesce(cost_usd, reserved_usd)) FROM calls") == [(0.5,)]

    add_draft(database, "second", "b")
    assert take_in(database, path) == Intake()  # after a batch only what is new is read
    assert take_in(database, path, again=True).settled == 1
    assert texts(database) == {"second": "better"}

    add_draft(database, "first", "a")
    assert take_in(database, path, again=True).settled == 1
    assert texts(database) == {"first": "better", "second": "better"}
    assert database.fetch("SELECT count(*), sum(cost_usd) FROM calls") == [(2, 0.5)]
    assert take_in(database, path, again=True) == Intake()


def test_records_after_answers_for_unknown_rows_are_stored_as_usual(
    tmp_path: Path, database: Database
) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("third", "c"))
    take_in(database, path)
    write(path, *answered_for("first", "a"))
    assert take_in(database, path) == Intake(sent=1, answered=1, settled=1)
    add_row(database, "third")
    assert take_in(database, path, again=True).settled == 1


def test_an_answer_counts_only_for_the_draft_that_it_revised(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a draft"), *answered_for("second", "b"))
    database = new_database(tmp_path / "figa.duckdb")
    take_in(database, path)
    add_draft(database, "first", "another draft of the same sample")
    add_draft(database, "second", "b")
    take_in(database, path, again=True)
    assert texts(database) == {"first": None, "second": "better"}
    assert take_in(database, path, again=True) == Intake()  # nothing is unknown: it is asked for again

    write(path, *answered_for("first", "another draft of the same sample", "fits"))
    take_in(database, path)
    assert texts(database)["first"] == "fits"


def test_an_answer_in_a_journal_without_marks_counts_for_any_draft(tmp_path: Path) -> None:
    old = replace(answered("c1", "first", RevisionStatus.SUCCEEDED), mark=None)
    path = write(tmp_path / "j.jsonl", sent("c1", "first"), old)
    database = new_database(tmp_path / "figa.duckdb")
    take_in(database, path)
    add_draft(database, "first", "any draft")
    assert take_in(database, path, again=True).settled == 1


def test_a_database_from_an_older_copy_gets_later_answers(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a"))
    database = new_database(tmp_path / "figa.duckdb")
    add_draft(database, "first", "a")
    take_in(database, path)
    copy = (tmp_path / "figa.duckdb").read_bytes()
    add_draft(database, "second", "b")
    write(path, *answered_for("second", "b"))
    take_in(database, path)
    (tmp_path / "figa.duckdb").write_bytes(copy)

    assert take_in(database, path, again=True) == Intake(sent=1, answered=1, unknown=1)
    add_draft(database, "second", "b")
    take_in(database, path, again=True)
    assert texts(database) == {"first": "better", "second": "better"}


@pytest.mark.parametrize(("at_once", "known"), [(1, 4), (4, 2)])
def test_a_second_reading_that_is_killed_continues_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, known: int
) -> None:
    names = [f"row-{number}" for number in range(6)]
    path = write(tmp_path / "j.jsonl", *(record for name in names for record in answered_for(name, name)))
    database = new_database(tmp_path / "figa.duckdb")
    monkeypatch.setattr(intake, "_RECORDS_AT_ONCE", at_once)
    take_in(database, path)
    for name in names:
        add_draft(database, name, name)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    damaged = whole.replace(lines[8], b"#" + lines[8][1:])  # ends the second reading in the middle
    path.write_bytes(damaged)
    with pytest.raises(StorageError, match="line 9"):
        take_in(database, path, again=True)
    path.write_bytes(whole)
    assert len([text for text in texts(database).values() if text]) == known
    assert take_in(database, path, again=True).settled == 6 - known
    assert set(texts(database).values()) == {"better"}


def test_a_cut_off_record_is_not_stored_in_a_new_database(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a"), *answered_for("second", "b"))
    path.write_bytes(path.read_bytes()[:-10])
    database = new_database(tmp_path / "figa.duckdb")
    for name in ("first", "second"):
        add_row(database, name)
    assert take_in(database, path, again=True) == Intake(sent=2, answered=1, settled=1)
    # The call without its answer counts as the amount reserved for it.
    assert database.fetch("SELECT sum(coalesce(cost_usd, reserved_usd)) FROM calls") == [(1.25,)]


@pytest.mark.parametrize("left", [None, b"", b'{"kind"'], ids=["gone", "empty", "cut"])
def test_a_lost_journal_loses_nothing_that_is_in_the_database(
    tmp_path: Path, database: Database, left: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "j.jsonl", *answered_for("first", "a"))
    take_in(database, path)
    path.unlink()
    if left is not None:
        path.write_bytes(left)

    assert take_in(database, path, again=True).replaced
    assert f"{path}: not the journal that was read before" in caplog.text
    assert texts(database)["first"] == "better"
    write(path, *answered_for("second", "b"))
    assert take_in(database, path) == Intake(sent=1, answered=1, settled=1)
    assert database.fetch("SELECT count(*) FROM calls") == [(2,)]


def test_an_older_journal_reverts_no_revision(tmp_path: Path, database: Database) -> None:
    failed = Revision("first", "response-of-first", RevisionStatus.FAILED, reason="down", retryable=True)
    path = write(tmp_path / "j.jsonl", RowSettled(SENT_AT, "revision", "first", failed))
    older = path.read_bytes()
    write(path, *answered_for("first", "a"))
    take_in(database, path)
    path.write_bytes(older)
    assert take_in(database, path).replaced
    assert database.fetch("SELECT status FROM revisions WHERE revision_id = 'first'") == [("succeeded",)]

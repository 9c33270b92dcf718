"""The stored answers that the open rows of a run find."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.records import RevisionStatus
from figa_core.storage.database import Database
from figa_core.storage.stored_answers import stored_answers
from tests.figa_core.storage.empty import new_database

RUN = "run-1"
REASONS: Any = {"limited": "too much, above", "limited_here": "too much, above 0.5 ("}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = new_database(tmp_path / "figa.duckdb")
    for i in range(3):
        database.execute(
            f"INSERT INTO responses VALUES ('y{i}', 'p{i}', 'g', 0, 'draft {i}', [1], 'stop', NULL, NULL)"
        )
    database.execute("INSERT INTO reference_answers VALUES ('a1', 'p1', 'reference 1')")
    return database


def revision(
    database: Database, name: str, row: int, status: str, question: str | None = None, **more: object
) -> None:
    keys = {"revision_id": name, "response_id": f"y{row}", "reference_id": "a1" if row == 1 else None}
    database.insert("revisions", [{**keys, "model": "m", "status": status, "question_id": question, **more}])


def pair(database: Database, name: str, row: int) -> None:
    database.execute(
        "INSERT INTO pairs (run_id, response_id, prompt_id, kept, keep_reason, revision_id, scorer_id) "
        f"VALUES ('{RUN}', 'y{row}', 'p{row}', true, 'kept', '{name}', 's')"
    )


def found(database: Database, **more: Any) -> dict[str, str | None]:
    return {answer.revision_id: answer.text for answer in stored_answers(database, RUN, **REASONS, **more)}


def test_an_open_row_finds_the_answer_to_its_question_and_no_other(database: Database) -> None:
    revision(database, "base", 1, "succeeded", text="fixed", attempts=2)
    revision(database, "other", 1, "succeeded", text="another question")
    revision(database, "mine", 1, "pending", "base")
    pair(database, "mine", 1)
    [answer] = stored_answers(database, RUN, **REASONS)
    assert answer.revision_id == "mine"
    assert (answer.response_id, answer.draft, answer.reference) == ("y1", "draft 1", "reference 1")
    assert (answer.status, answer.text, answer.attempts) == (RevisionStatus.SUCCEEDED, "fixed", 2)
    assert stored_answers(database, "another run", **REASONS) == []


@pytest.mark.parametrize("status", ["pending", "submitted", "failed"])
def test_an_open_row_at_the_default_settings_finds_answers_of_other_limits(
    database: Database, status: str
) -> None:
    revision(database, "base", 0, status, retryable=status == "failed")
    revision(database, "looser", 0, "rejected", "base", text="rejected", asked_again_max=3)
    revision(database, "stricter", 0, "succeeded", "base", text="fixed")
    revision(database, "never answered", 0, "pending", "base")
    pair(database, "base", 0)
    assert found(database) == {"base": "fixed"}


def test_the_rejected_answer_that_was_asked_for_most_often_is_found(database: Database) -> None:
    revision(database, "base", 0, "rejected", text="once")
    revision(database, "thrice", 0, "rejected", "base", text="thrice", asked_again_max=3)
    revision(database, "not again", 0, "rejected", "base", text="not again", asked_again_max=0)
    revision(database, "mine", 0, "pending", "base")
    pair(database, "mine", 0)
    assert found(database) == {"mine": "thrice"}


@pytest.mark.parametrize("status", ["pending", "submitted", "failed"])
def test_a_question_without_an_answer_finds_none(database: Database, status: str) -> None:
    revision(database, "base", 0, status, retryable=True)
    revision(database, "mine", 0, "pending", "base")
    pair(database, "mine", 0)
    assert found(database) == {}


def test_a_row_with_an_answer_keeps_it(database: Database) -> None:
    revision(database, "base", 0, "succeeded", text="another")
    revision(database, "mine", 0, "rejected", "base", text="own", reason="the answer is empty")
    pair(database, "mine", 0)
    assert found(database) == {}


@pytest.mark.parametrize(
    ("limit", "text", "expected"), [(0.8, "own", {"base": "own"}), (0.5, "own", {}), (0.8, None, {})]
)
def test_a_row_that_was_rejected_by_another_runs_limit_finds_its_answer(
    database: Database, limit: float, text: str | None, expected: dict[str, str]
) -> None:
    revision(database, "base", 0, "rejected", text=text, reason=f"too much, above {limit:g} (it is 0.81)")
    pair(database, "base", 0)
    assert found(database) == expected


def test_rows_come_in_pages(database: Database) -> None:
    for row in range(3):
        revision(database, f"base{row}", row, "succeeded", text=f"fixed {row}")
        revision(database, f"mine{row}", row, "pending", f"base{row}")
        pair(database, f"mine{row}", row)
    assert list(found(database, rows=2)) == ["mine0", "mine1"]
    assert list(found(database, rows=2, after="mine1")) == ["mine2"]

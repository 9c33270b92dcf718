"""Open revisions: dealt into batches without gaps, counted by why they are open, and what they cost."""

from pathlib import Path

import pytest

from figa_core.storage.database import Database
from figa_core.storage.revisions import (
    Cause,
    batches,
    count_open,
    count_refused,
    failures,
    iter_open,
    open_by_kind,
    open_causes,
    refused_causes,
    requests,
    spent,
    statuses,
)

RUN, OTHER = "run-1", "run-2"
QUESTION = '[{"role": "user", "content": "Why?"}]'


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Ten pending revisions of one run, r0 to r9; r9 belongs to another run too."""
    database = Database(tmp_path / "figa.duckdb")
    database.create()
    with database.open() as connection:
        for i in range(10):
            connection.execute(
                "INSERT INTO prompts (prompt_id, messages, split) VALUES (?, ?, 'train')", [f"p{i}", QUESTION]
            )
            connection.execute(
                "INSERT INTO responses VALUES (?, ?, 'generator', 0, 'a draft', [1, 2], 'stop')",
                [f"y{i}", f"p{i}"],
            )
            connection.execute(
                "INSERT INTO revisions (revision_id, response_id, model, status) "
                "VALUES (?, ?, 'm', 'pending')",
                [f"r{i}", f"y{i}"],
            )
            for run in (RUN, OTHER) if i == 9 else (RUN,):
                connection.execute(
                    "INSERT INTO pairs "
                    "(run_id, response_id, prompt_id, kept, keep_reason, revision_id, scorer_id) "
                    "VALUES (?, ?, ?, true, 'kept', ?, 's')",
                    [run, f"y{i}", f"p{i}", f"r{i}"],
                )
    return database


def execute(database: Database, query: str) -> None:
    with database.open() as connection:
        connection.execute(query)


def call(database: Database, row: int, second: int, outcome: str | None, reserved: str, cost: str) -> None:
    shown = "NULL" if outcome is None else f"'{outcome}'"
    execute(
        database,
        "INSERT INTO calls "
        "(call_id, subject_id, attempt, sent_at, outcome, estimated, reserved_usd, cost_usd) "
        f"VALUES ('c{row}-{second}', 'r{row}', 1, '2026-01-01 00:00:{second:02d}+00', {shown}, false, "
        f"{reserved}, {cost})",
    )


def test_batches_hold_every_open_row_once(database: Database) -> None:
    dealt = batches(database, RUN, 4)
    assert [(batch.number, batch.rows) for batch in dealt] == [(1, 4), (2, 4), (3, 2)]
    rows = [row.revision_id for batch in dealt for row in requests(database, RUN, batch)]
    assert rows == [f"r{i}" for i in range(10)]
    assert [row.revision_id for page in iter_open(database, OTHER, 4) for row in page] == ["r9"]


def test_a_batch_gives_only_what_is_still_open(database: Database) -> None:
    [batch] = batches(database, RUN, 100)
    execute(database, "UPDATE revisions SET status = 'succeeded' WHERE revision_id IN ('r0', 'r1')")
    execute(database, "UPDATE revisions SET status = 'failed', retryable = true WHERE revision_id = 'r2'")
    execute(database, "UPDATE revisions SET status = 'failed' WHERE revision_id = 'r3'")
    execute(database, "UPDATE revisions SET status = 'submitted' WHERE revision_id = 'r4'")
    assert [row.revision_id for row in requests(database, RUN, batch)] == [
        "r2",
        *(f"r{i}" for i in range(4, 10)),
    ]
    assert count_open(database, RUN) == 7
    assert statuses(database, RUN) == {"pending": 5, "succeeded": 2, "failed": 2, "submitted": 1}


def test_only_kept_and_open_rows_are_dealt(database: Database) -> None:
    [whole] = batches(database, RUN, 100)
    execute(database, "UPDATE pairs SET kept = false WHERE revision_id = 'r0'")
    execute(database, "UPDATE revisions SET status = 'succeeded' WHERE revision_id = 'r1'")
    assert [batch.rows for batch in batches(database, RUN, 4)] == [4, 4]
    assert [row.revision_id for row in requests(database, RUN, whole)] == [f"r{i}" for i in range(2, 10)]
    assert statuses(database, RUN) == {"pending": 8, "succeeded": 1}


def test_open_rows_are_counted_by_how_their_last_call_ended(database: Database) -> None:
    execute(database, "UPDATE revisions SET status = 'failed', retryable = true WHERE revision_id = 'r0'")
    execute(database, "UPDATE revisions SET status = 'submitted' WHERE revision_id IN ('r1', 'r2')")
    call(database, 0, 1, "timeout", "0.1", "NULL")
    call(database, 0, 2, "server_error", "0.1", "0")
    call(database, 1, 3, "rate_limited", "0.1", "0")
    call(database, 2, 4, None, "0.1", "NULL")
    assert open_by_kind(database, RUN) == {
        "not asked": 7,
        "server_error": 1,
        "rate_limited": 1,
        "no answer": 1,
    }
    first = batches(database, RUN, 2)[0]
    assert open_by_kind(database, RUN, first) == {"server_error": 1, "rate_limited": 1}


def test_what_was_spent_counts_a_call_without_an_answer_as_what_was_reserved(database: Database) -> None:
    call(database, 0, 1, "answered", "0.5", "0.25")
    call(database, 1, 2, "timeout", "0.5", "NULL")
    call(database, 2, 3, None, "0.5", "NULL")
    call(database, 3, 4, "rate_limited", "0.5", "0")
    found = spent(database, RUN)
    assert (found.usd, found.estimated_usd, found.calls) == (1.25, 1.0, 4)
    assert spent(database, OTHER).usd is None


def test_without_a_price_nothing_is_said_about_cost(database: Database) -> None:
    call(database, 0, 1, "answered", "NULL", "NULL")
    found = spent(database, RUN)
    assert (found.usd, found.estimated_usd, found.calls) == (None, None, 1)


def test_failures_are_listed_by_reason_without_a_rows_own_figure_and_with_an_example(
    database: Database,
) -> None:
    for row, share in (("r1", 0.95), ("r2", 0.88)):
        execute(
            database,
            f"UPDATE revisions SET status = 'rejected', reason = 'a rewrite above 0.8 (it is {share})' "
            f"WHERE revision_id = '{row}'",
        )
    execute(database, "UPDATE revisions SET status = 'succeeded' WHERE revision_id NOT IN ('r1', 'r2', 'r3')")
    assert failures(database, RUN) == [
        {
            "status": "rejected",
            "asked again": "no",
            "reason": "a rewrite above 0.8",
            "rows": 2,
            "for example": "r1",
        },
        {
            "status": "pending",
            "asked again": "yes",
            "reason": "not asked yet",
            "rows": 1,
            "for example": "r3",
        },
    ]


def test_the_most_frequent_causes_come_with_an_example_in_the_providers_words(database: Database) -> None:
    execute(database, "UPDATE revisions SET status = 'succeeded' WHERE revision_id = 'r9'")
    for row, (outcome, words) in enumerate(
        [
            ("server_error", "HTTP 500: overloaded, request 7a1"),
            ("server_error", "HTTP 500: overloaded, request 9c2"),
            ("server_error", "HTTP 500: overloaded, request 1d3"),
            ("timeout", "no whole answer within 60 s"),
            ("timeout", "no whole answer within 60 s"),
            ("server_error", "HTTP 500: out of memory"),
            ("server_error", "HTTP 500: out of memory"),
            ("bad_request", "HTTP 400: no"),
        ]
    ):
        call(database, row, 2 * row, "rate_limited", "NULL", "NULL")
        call(database, row, 2 * row + 1, outcome, "NULL", "NULL")
        execute(database, f"UPDATE calls SET message = '{words}' WHERE call_id = 'c{row}-{2 * row + 1}'")
        execute(
            database, f"UPDATE revisions SET status = 'failed', retryable = true WHERE revision_id = 'r{row}'"
        )
    assert open_causes(database, RUN) == (
        Cause("server_error", 3, "r0", "HTTP 500: overloaded, request 7a1"),
        Cause("server_error", 2, "r5", "HTTP 500: out of memory"),
        Cause("timeout", 2, "r3", "no whole answer within 60 s"),
    )
    assert open_causes(database, OTHER) == ()


def test_rows_refused_for_good_are_counted_apart_from_open_and_rejected_ones(database: Database) -> None:
    states = {
        "r0": ("refused", False, "flagged"),
        "r1": ("failed", False, "context_too_long: 7 tokens"),
        "r2": ("failed", False, "context_too_long: 9 tokens"),
        "r3": ("failed", True, "timeout"),
        "r4": ("rejected", False, "empty"),
    }
    for row, (status, retryable, reason) in states.items():
        execute(
            database,
            f"UPDATE revisions SET status = '{status}', retryable = {retryable}, reason = '{reason}' "
            f"WHERE revision_id = '{row}'",
        )
    assert count_refused(database, RUN) == 3
    assert refused_causes(database, RUN) == (
        Cause("failed", 2, "r1", "context_too_long: 7 tokens"),
        Cause("refused", 1, "r0", "flagged"),
    )


def test_three_causes_are_named_unless_more_are_asked_for(database: Database) -> None:
    for row, reason in enumerate(("flagged", "empty", "odd", "long")):
        call(database, row, 1, "server_error", "NULL", "NULL")
        execute(database, f"UPDATE calls SET message = '{reason}' WHERE subject_id = 'r{row}'")
    execute(database, "UPDATE revisions SET status = 'succeeded' WHERE revision_id > 'r3'")
    assert (len(open_causes(database, RUN)), len(open_causes(database, RUN, most=9))) == (3, 4)
    assert refused_causes(database, RUN) == ()

    for row, reason in enumerate(("flagged", "empty", "odd", "long")):
        execute(
            database,
            f"UPDATE revisions SET status = 'refused', reason = '{reason}' WHERE revision_id = 'r{row}'",
        )
    assert (len(refused_causes(database, RUN)), len(refused_causes(database, RUN, most=9))) == (3, 4)
    assert open_causes(database, RUN) == ()

"""Open revisions: divided into batches without gaps, counted by why they are open, and their cost."""

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
from tests.figa_core.storage.empty import new_database

RUN, OTHER = "run-1", "run-2"
QUESTION = '[{"role": "user", "content": "Why?"}]'


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Ten pending revisions of one run, r0 to r9; r9 belongs to another run too."""
    database = new_database(tmp_path / "figa.duckdb")
    for statement in (
        f"INSERT INTO prompts SELECT 'p' || i, '{QUESTION}', 'train', now() FROM range(10) t(i)",
        "INSERT INTO responses SELECT 'y' || i, 'p' || i, 'g', 0, 'a draft', [1], 'stop', NULL, NULL "
        "FROM range(10) t(i)",
        "INSERT INTO revisions (revision_id, response_id, model, status) "
        "SELECT 'r' || i, 'y' || i, 'm', 'pending' FROM range(10) t(i)",
        "INSERT INTO pairs (run_id, response_id, prompt_id, kept, keep_reason, revision_id, scorer_id) "
        f"SELECT run, 'y' || i, 'p' || i, true, 'kept', 'r' || i, 's' "
        f"FROM range(10) t(i), (VALUES ('{RUN}'), ('{OTHER}')) runs(run) WHERE run = '{RUN}' OR i = 9",
    ):
        database.execute(statement)
    return database


def call(database: Database, row: int, second: int, outcome: str | None, reserved: str, cost: str) -> None:
    database.execute(
        "INSERT INTO calls "
        "(call_id, subject_id, attempt, sent_at, outcome, estimated, reserved_usd, cost_usd) "
        f"VALUES ('c{row}-{second}', 'r{row}', 1, '2026-01-01 00:00:{second:02d}+00', $outcome, false, "
        f"{reserved}, {cost})",
        outcome=outcome,
    )


def revise(
    database: Database, rows: str, status: str, reason: str | None = None, *, again: bool = False
) -> None:
    """Sets the status of revisions, such as "r0 r1"."""
    database.execute(
        "UPDATE revisions SET status = $status, reason = $reason, retryable = $again "
        "WHERE revision_id IN (SELECT unnest($rows))",
        rows=rows.split(),
        status=status,
        reason=reason,
        again=again,
    )


def test_batches_hold_every_open_row_once(database: Database) -> None:
    found = batches(database, RUN, 4)
    assert [(batch.number, batch.rows) for batch in found] == [(1, 4), (2, 4), (3, 2)]
    rows = [row.revision_id for batch in found for row in requests(database, RUN, batch)]
    assert rows == [f"r{i}" for i in range(10)]
    assert [row.revision_id for page in iter_open(database, OTHER, 4) for row in page] == ["r9"]


def test_a_batch_contains_only_rows_that_are_still_open(database: Database) -> None:
    [batch] = batches(database, RUN, 100)
    revise(database, "r0 r1", "succeeded")
    revise(database, "r2", "failed", again=True)
    revise(database, "r3", "failed")
    revise(database, "r4", "submitted")
    assert [row.revision_id for row in requests(database, RUN, batch)] == [
        "r2",
        *(f"r{i}" for i in range(4, 10)),
    ]
    assert count_open(database, RUN) == 7
    assert statuses(database, RUN) == {"pending": 5, "succeeded": 2, "failed": 2, "submitted": 1}


def test_only_kept_and_open_rows_are_in_batches(database: Database) -> None:
    [whole] = batches(database, RUN, 100)
    database.execute("UPDATE pairs SET kept = false WHERE revision_id = 'r0'")
    revise(database, "r1", "succeeded")
    assert [batch.rows for batch in batches(database, RUN, 4)] == [4, 4]
    assert [row.revision_id for row in requests(database, RUN, whole)] == [f"r{i}" for i in range(2, 10)]
    assert statuses(database, RUN) == {"pending": 8, "succeeded": 1}


def test_open_rows_are_counted_by_how_their_last_call_ended(database: Database) -> None:
    revise(database, "r0", "failed", again=True)
    revise(database, "r1 r2", "submitted")
    call(database, 0, 1, "timeout", "0.1", "NULL")
    call(database, 0, 2, "server_error", "0.1", "0")
    call(database, 1, 3, "rate_limited", "0.1", "0")
    call(database, 2, 4, None, "0.1", "NULL")
    kinds = {"not asked": 7, "server_error": 1, "rate_limited": 1, "no answer": 1}
    assert open_by_kind(database, RUN) == kinds
    first = batches(database, RUN, 2)[0]
    assert open_by_kind(database, RUN, first) == {"server_error": 1, "rate_limited": 1}


def test_a_call_without_an_answer_costs_the_amount_reserved_for_it(database: Database) -> None:
    call(database, 0, 1, "answered", "0.5", "0.25")
    call(database, 1, 2, "timeout", "0.5", "NULL")
    call(database, 2, 3, None, "0.5", "NULL")
    call(database, 3, 4, "rate_limited", "0.5", "0")
    found = spent(database, RUN)
    assert (found.usd, found.estimated_usd, found.calls) == (1.25, 1.0, 4)
    assert spent(database, OTHER).usd is None


def test_what_several_runs_share_is_paid_for_once(database: Database) -> None:
    call(database, 0, 1, "answered", "0.5", "0.25")
    call(database, 9, 2, "answered", "0.5", "1")  # a row of both runs
    assert spent(database, OTHER).usd == 1
    assert spent(database, RUN, OTHER).usd == spent(database, RUN).usd == 1.25


def test_without_a_price_there_is_no_cost(database: Database) -> None:
    call(database, 0, 1, "answered", "NULL", "NULL")
    found = spent(database, RUN)
    assert (found.usd, found.estimated_usd, found.calls) == (None, None, 1)


def test_failures_are_listed_by_reason_without_the_numbers_of_a_row_and_with_an_example(
    database: Database,
) -> None:
    for row, share in (("r1", 0.95), ("r2", 0.88)):
        revise(database, row, "rejected", f"a rewrite above 0.8 (it is {share})")
    revise(database, "r0 r4 r5 r6 r7 r8 r9", "succeeded")
    columns = ("status", "asked again", "reason", "rows", "for example")
    assert [tuple(row) for row in failures(database, RUN)] == [columns] * 2
    assert [tuple(row.values()) for row in failures(database, RUN)] == [
        ("rejected", "no", "a rewrite above 0.8", 2, "r1"),
        ("pending", "yes", "not asked yet", 1, "r3"),
    ]


def test_the_most_frequent_causes_come_with_an_example_in_the_providers_words(database: Database) -> None:
    revise(database, "r9", "succeeded")
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
        database.execute(f"UPDATE calls SET message = '{words}' WHERE call_id = 'c{row}-{2 * row + 1}'")
        revise(database, f"r{row}", "failed", again=True)
    assert open_causes(database, RUN) == (
        Cause("server_error", 3, "r0", "HTTP 500: overloaded, request 7a1"),
        Cause("server_error", 2, "r5", "HTTP 500: out of memory"),
        Cause("timeout", 2, "r3", "no whole answer within 60 s"),
    )
    assert open_causes(database, OTHER) == ()


def test_rows_refused_for_good_are_counted_apart_from_open_and_rejected_ones(database: Database) -> None:
    revise(database, "r0", "refused", "flagged")
    revise(database, "r1", "failed", "context_too_long: 7 tokens")
    revise(database, "r2", "failed", "context_too_long: 9 tokens")
    revise(database, "r3", "failed", "timeout", again=True)
    revise(database, "r4", "rejected", "empty")
    assert count_refused(database, RUN) == 3
    assert refused_causes(database, RUN) == (
        Cause("failed", 2, "r1", "context_too_long: 7 tokens"),
        Cause("refused", 1, "r0", "flagged"),
    )


def test_three_causes_are_named(database: Database) -> None:
    for row, reason in enumerate(("flagged", "empty", "odd", "long")):
        call(database, row, 1, "server_error", "NULL", "NULL")
        database.execute(f"UPDATE calls SET message = '{reason}' WHERE subject_id = 'r{row}'")
    revise(database, "r4 r5 r6 r7 r8 r9", "succeeded")
    assert len(open_causes(database, RUN)) == 3
    assert refused_causes(database, RUN) == ()

    for row, reason in enumerate(("flagged", "empty", "odd", "long")):
        revise(database, f"r{row}", "refused", reason)
    assert len(refused_causes(database, RUN)) == 3
    assert open_causes(database, RUN) == ()

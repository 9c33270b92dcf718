"""What is settled, and what stays open, where an endpoint refuses every row it is asked about."""

from typing import Any

import pytest

from figa_core.records import RevisionStatus
from tests.figa_core.llm.runs import Run, number_of, refusing


@pytest.mark.parametrize("rows", [4, 5, 12])
@pytest.mark.parametrize(
    ("status", "message", "settled"),
    [(413, "too large", RevisionStatus.FAILED), (403, "flagged", RevisionStatus.REFUSED)],
)
async def test_rows_refused_alike_by_an_endpoint_that_never_answered_stay_open_from_some_number_on(
    server: Any, run: Run, rows: int, status: int, message: str, settled: RevisionStatus
):
    refusing(server, lambda *_: server.error(status, message))
    asked = await run.ask(rows, max_concurrency=2)
    assert asked.error is None
    assert len(asked.revisions) == rows
    assert len(asked.written_off) == (rows if rows < 5 else 0)
    for revision in asked.revisions.values():
        end = (RevisionStatus.FAILED, True) if rows >= 5 else (settled, False)
        assert (revision.status, revision.retryable) == end
        assert message in str(revision.reason)
        assert revision.attempts == 1


async def test_an_answer_shows_that_such_refusals_are_the_rows_own(server: Any, run: Run):
    refusing(server, lambda _, request: server.error(413) if number_of(request) != 4 else None)
    asked = await run.ask(8, max_concurrency=1)
    assert asked.count(RevisionStatus.SUCCEEDED) == 1
    assert len(asked.written_off) == 7


async def test_of_refusals_in_different_words_only_those_of_several_rows_stay_open(server: Any, run: Run):
    def words(_: int, request: Any) -> Any:
        return server.error(413, "one of a kind" if number_of(request) == 3 else "too large")

    refusing(server, words)
    asked = await run.ask(7, max_concurrency=1)
    assert [revision.revision_id for revision in asked.written_off] == ["rev-0003"]
    assert asked.count(RevisionStatus.FAILED) == 7

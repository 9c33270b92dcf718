"""Revisions by servers that are busy, elsewhere, or down."""

from dataclasses import replace

import pytest

from figa_core.records import RevisionStatus
from tests.figa_core.llm.runs import Run, number_of, refusing, revised


@pytest.mark.parametrize("status", [503, 529, 500])
async def test_a_busy_server_with_a_retry_after_holds_all_calls_and_uses_up_no_attempt(
    server, run: Run, status: int
):
    server.script = lambda number, request: (
        server.error(status, "loading", headers={"retry-after": "1"})
        if number < 3
        else revised(server, request)
    )
    asked = await run.ask(6, max_concurrency=3, max_attempts=1)
    assert asked.count(RevisionStatus.SUCCEEDED) == 6
    assert server.received[3].at - server.received[0].at >= 0.99


async def test_a_busy_server_that_asks_for_hours_ends_the_run(server, run: Run):
    refusing(server, lambda *_: server.error(503, "back tomorrow", headers={"retry-after": "40000"}))
    asked = await run.ask(6, max_concurrency=1)
    assert "back tomorrow" in str(asked.error)
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [404, 302])
async def test_a_wrong_address_ends_the_run_at_once_and_one_404_later_costs_an_attempt(
    server, run: Run, status: int
):
    headers = {"location": "https://elsewhere.example/v1"} if status == 302 else {}
    wrong = server.error(status, headers=headers)
    refusing(server, lambda *_: wrong)
    first = await run.ask(50, max_concurrency=2)
    assert "revision.base_url" in str(first.error)
    assert len(server.received) <= 4
    assert first.revisions == {}

    run.path = run.path.with_name("second.jsonl")
    server.received.clear()
    refusing(server, lambda number, _: wrong if number == 7 else None)
    second = await run.ask(20, max_concurrency=1)
    assert second.count(RevisionStatus.SUCCEEDED) == 20
    assert len(server.received) == 21


async def test_a_redirect_ends_the_run_and_its_target_is_named(server, run: Run):
    refusing(server, lambda *_: server.error(301, headers={"location": "https://elsewhere.example/v1/x"}))
    asked = await run.ask(2, max_concurrency=1)
    assert "https://elsewhere.example/v1/x" in str(asked.error)


@pytest.mark.parametrize("status", [502, 403])
async def test_a_page_of_html_is_reported_by_its_title(server, run: Run, status: int):
    page = b"<html><head><title>Go away</title></head><body><p>x</p></body></html>"
    refusing(server, lambda *_: replace(server.error(status), body=page))
    asked = await run.ask(30, max_concurrency=2, max_attempts=2)
    assert f"HTTP {status}: a page of HTML: Go away" in str(asked.error)
    assert "<p>" not in str(asked.error)
    assert asked.written_off == []


async def test_a_rate_limit_in_the_words_of_a_quota_is_waited_for(server, run: Run):
    body = {"error": {"message": "You exceeded your current quota", "details": [{"retryDelay": "0.2s"}]}}
    server.script = lambda number, request: (
        server.json(body, status=429) if number == 0 else revised(server, request)
    )
    asked = await run.ask(3, max_concurrency=1)
    assert asked.count(RevisionStatus.SUCCEEDED) == 3


async def test_a_redirect_that_keeps_the_request_is_followed_on_the_same_host_and_remembered(
    server, run: Run
):
    moved = server.error(308, headers={"location": "/v2/chat/completions"})
    server.script = lambda number, request: moved if number == 0 else revised(server, request)
    asked = await run.ask(3, max_concurrency=1)
    assert asked.count(RevisionStatus.SUCCEEDED) == 3
    assert len(server.received) == 4

    run.path = run.path.with_name("second.jsonl")
    server.received.clear()
    away = server.error(308, headers={"location": "http://localhost.example/v1/chat/completions"})
    refusing(server, lambda *_: away)
    asked = await run.ask(3, max_concurrency=1)
    assert "localhost.example" in str(asked.error)
    assert len(server.received) == 1


async def test_one_row_with_a_busy_server_uses_up_its_attempts_and_holds_the_others_once(server, run: Run):
    busy = server.error(503, "down for a moment", headers={"retry-after": "1"})
    refusing(server, lambda _, request: busy if number_of(request) == 2 else None)
    asked = await run.ask(100, max_concurrency=4, max_attempts=3)
    assert asked.error is None
    assert asked.count(RevisionStatus.SUCCEEDED) == 99
    assert asked.revisions["rev-0002"].retryable
    assert server.received[-1].at - server.received[0].at < 30
    assert len(server.received) <= 99 + 5

"""The asker with a server that misbehaves: every row is accounted for, every call journalled."""

import asyncio
import time
from dataclasses import replace

import pytest

from figa_core.errors import LLMError
from figa_core.llm.calls import CallOutcome, CallSent, RowSettled
from figa_core.ports import RevisionRequest
from figa_core.records import Message, Revision, RevisionStatus
from figa_core.revision.reviser import LLMReviser
from tests.figa_core.llm.misbehaving import REVISED
from tests.figa_core.llm.runs import Runner, make_rows, revision_in


async def test_every_row_comes_back_once_and_its_calls_are_journalled(server, runner: Runner):
    rows = make_rows(200)
    revisions = await runner.revise(rows)
    assert sorted(r.revision_id for r in revisions) == sorted(r.revision_id for r in rows)
    assert {(r.status, r.text, r.attempts) for r in revisions} == {(RevisionStatus.SUCCEEDED, REVISED, 1)}
    records = runner.records()
    assert sum(isinstance(record, CallSent) for record in records) == len(server.received) == 200
    assert set(runner.revisions()) == set(revisions)
    assert {(a.prompt_tokens, a.completion_tokens) for a in runner.answers()} == {(100, 20)}


async def test_a_call_is_durable_before_it_is_sent(server, runner: Runner):
    seen: list[int] = []

    def script(number, request):
        seen.append(sum(isinstance(record, CallSent) for record in runner.records()))
        return server.completion(REVISED)

    server.script = script
    await runner.revise(make_rows(5), max_concurrency=1)
    assert seen == [1, 2, 3, 4, 5]


async def test_no_rows_make_no_calls(server, runner: Runner):
    assert await runner.revise([]) == []
    assert server.received == []


async def test_the_calls_under_way_when_the_run_ends_are_journalled_and_yielded(server, runner: Runner):
    def script(number, request):
        return server.error(401) if number == 3 else server.completion(REVISED, delay_s=0.4)

    server.script = script
    revisions: list[Revision] = []

    async def collect(reviser: LLMReviser) -> None:
        async for revision in reviser.revise(make_rows(100)):
            revisions.append(revision)  # noqa: PERF401 - the list must survive the exception

    async with runner.reviser(max_concurrency=4) as reviser:
        with pytest.raises(LLMError):
            await collect(reviser)
    assert len(revisions) == 3
    assert set(runner.revisions()) == set(revisions)


async def test_cancelling_lets_the_calls_under_way_finish_and_journals_them(server, runner: Runner):
    server.script = lambda number, request: server.completion(REVISED, delay_s=0.4)
    task = asyncio.create_task(runner.revise(make_rows(100), max_concurrency=8))
    while len(server.received) < 8:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(server.received) == 8
    assert runner.outcomes() == [CallOutcome.ANSWERED] * 8


async def test_leaving_the_loop_early_leaves_nothing_behind(server, runner: Runner):
    async with runner.reviser(max_concurrency=4) as reviser:
        revisions = reviser.revise(make_rows(100))
        await anext(revisions)
        await revisions.aclose()  # type: ignore[attr-defined]
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any(name.startswith("asker") for name in names)
    assert len(runner.answers()) == len(server.received) < 30


async def test_closing_the_reviser_journals_the_calls_of_a_loop_that_was_left_by_break(
    server, runner: Runner
):
    server.script = lambda number, request: server.completion(REVISED, delay_s=0.1 + 0.2 * (number > 0))
    async with runner.reviser(max_concurrency=4) as reviser:
        revisions = reviser.revise(make_rows(100))
        async for _ in revisions:
            break
    assert len(server.received) >= 4
    assert runner.outcomes() == [CallOutcome.ANSWERED] * len(server.received)
    await revisions.aclose()  # type: ignore[attr-defined]


async def test_the_drain_is_bounded(server, runner: Runner):
    server.script = lambda number, request: server.completion(REVISED, delay_s=30)
    task = asyncio.create_task(runner.revise(make_rows(10), max_concurrency=2, timeout_s=60, drain_s=0.2))
    while len(server.received) < 2:
        await asyncio.sleep(0.01)
    start = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - start < 2
    sent = [record for record in runner.records() if isinstance(record, CallSent)]
    assert (len(sent), runner.answers()) == (2, [])


async def test_a_text_that_no_request_can_carry_is_recorded_with_its_reason(server, runner: Runner):
    broken = replace(make_rows(1)[0], messages=(Message("user", "half a pair \ud800"),))
    revisions = await runner.revise([broken, *make_rows(2)[1:]], max_concurrency=1)
    assert [r.status for r in revisions] == [RevisionStatus.FAILED, RevisionStatus.SUCCEEDED]
    assert "surrogates" in str(revisions[0].reason)
    assert [revision_in(r) for r in runner.records() if isinstance(r, RowSettled)] == [revisions[0]]


async def test_the_permitted_rate_is_not_exceeded(server, runner: Runner):
    """`test_limiter.py` shows on a fast clock that the rate is reached and holds over every window."""
    await runner.revise(make_rows(150), requests_per_minute=3000)
    times = [request.at for request in server.received]
    assert times[-1] - times[0] > (150 - 12.5) / (3000 / 60) - 0.5


async def test_half_of_the_calls_failing_in_every_way_lose_no_row(server, runner: Runner):
    faults = [
        server.error(429, headers={"retry-after-ms": "5"}),
        server.error(500),
        server.error(503),
        server.cut(30),
        server.cut(0),
        replace(server.completion("x"), body=b'{"choices": '),
        server.json({"choices": []}),
    ]

    def script(number, request):
        return faults[number // 2 % len(faults)] if number % 2 else server.completion(REVISED)

    server.script = script
    rows = make_rows(150)
    revisions = await runner.revise(rows, max_attempts=20, requests_per_minute=6e7)
    assert {r.revision_id for r in revisions} == {r.revision_id for r in rows}
    assert {r.status for r in revisions} == {RevisionStatus.SUCCEEDED}
    calls = runner.answers()
    assert len(calls) == len(server.received)
    for revision in revisions:
        own = [c for c in calls if c.subject_id == revision.revision_id]
        counted = [c for c in own if c.outcome is not CallOutcome.RATE_LIMITED]
        assert revision.attempts == len(counted) == own[-1].attempt


async def test_two_batches_at_once_share_one_reviser(server, runner: Runner):
    rows = make_rows(60)

    async def collect(reviser: LLMReviser, part: list[RevisionRequest]) -> set[str]:
        return {revision.revision_id async for revision in reviser.revise(part)}

    async with runner.reviser(max_concurrency=4) as reviser:
        first, second = await asyncio.gather(collect(reviser, rows[:30]), collect(reviser, rows[30:]))
    assert first == {r.revision_id for r in rows[:30]}
    assert second == {r.revision_id for r in rows[30:]}

"""Which questions are asked again, how often, and how."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from figa_core.llm.calls import CallOutcome
from figa_core.records import RevisionStatus
from tests.figa_core.llm.misbehaving import REVISED
from tests.figa_core.llm.runs import Runner, make_rows


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (lambda s: s.error(500), CallOutcome.SERVER_ERROR),
        (lambda s: s.error(503), CallOutcome.SERVER_ERROR),
        (lambda s: s.cut(20), CallOutcome.CONNECTION_LOST),
        (lambda s: replace(s.completion("x"), body=b'{"choices": [{"mess'), CallOutcome.MALFORMED),
        (lambda s: replace(s.completion("x"), body=b"<html>gateway</html>"), CallOutcome.MALFORMED),
        (lambda s: s.json({"choices": []}), CallOutcome.EMPTY_CHOICES),
        (lambda s: s.json({"choices": [{"message": 7}]}), CallOutcome.MALFORMED),
        (lambda s: s.json({"error": {"message": "upstream", "code": 502}}), CallOutcome.SERVER_ERROR),
        (lambda s: s.completion("x", delay_s=1.6), CallOutcome.TIMEOUT),
    ],
)
async def test_a_temporary_error_is_retried(server, runner: Runner, fault, outcome):
    server.in_turn(fault(server), fault(server))
    (revision,) = await runner.revise(make_rows(1), timeout_s=1.0)
    assert (revision.status, revision.attempts) == (RevisionStatus.SUCCEEDED, 3)
    assert runner.outcomes() == [outcome, outcome, CallOutcome.ANSWERED]
    assert [a.attempt for a in runner.answers()] == [1, 2, 3]


async def test_a_row_whose_attempts_are_used_up_fails_and_may_be_retried(server, runner: Runner):
    server.script = lambda number, request: server.error(500, "the cat sat on the server")
    (revision,) = await runner.revise(make_rows(1), max_attempts=3)
    assert (revision.status, revision.retryable, revision.attempts) == (RevisionStatus.FAILED, True, 3)
    assert "3 attempts" in str(revision.reason)
    assert "the cat sat on the server" in str(revision.reason)
    assert runner.revisions() == [revision]
    assert len(server.received) == 3


async def test_a_429_uses_up_no_attempt_and_its_retry_after_is_obeyed(server, runner: Runner):
    limited = [server.error(429, headers={"retry-after-ms": "200"}) for _ in range(6)]
    server.in_turn(*limited)
    (revision,) = await runner.revise(make_rows(1), max_attempts=2)
    assert (revision.status, revision.attempts) == (RevisionStatus.SUCCEEDED, 1)
    assert runner.outcomes() == [CallOutcome.RATE_LIMITED] * 6 + [CallOutcome.ANSWERED]
    times = [request.at for request in server.received]
    assert all(later - earlier >= 0.19 for earlier, later in itertools.pairwise(times))


async def test_one_429_holds_back_all_rows(server, runner: Runner):
    server.in_turn(server.error(429, headers={"retry-after": "1"}))
    await runner.revise(make_rows(30), max_concurrency=1)
    assert server.received[1].at - server.received[0].at >= 0.99
    assert len(server.received) == 31


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (lambda s: s.completion(None, refusal="I will not"), RevisionStatus.REFUSED, "I will not"),
        (lambda s: s.completion("", "content_filter"), RevisionStatus.REFUSED, "content filter"),
        (lambda s: s.error(400, "flagged", code="content_filter"), RevisionStatus.REFUSED, "flagged"),
        (
            lambda s: s.error(400, "maximum context length is 8 tokens", code="context_length_exceeded"),
            RevisionStatus.FAILED,
            "maximum context length",
        ),
        (lambda s: s.completion(""), RevisionStatus.REJECTED, "empty"),
        (lambda s: s.completion(None), RevisionStatus.REJECTED, "empty"),
    ],
)
async def test_a_final_result_for_one_row_does_not_stop_the_others(
    server, runner: Runner, fault, status, reason
):
    server.in_turn(fault(server))
    revisions = await runner.revise(make_rows(3), max_concurrency=1, asked_again_max=0)
    revisions.sort(key=lambda revision: revision.revision_id)
    assert (revisions[0].status, revisions[0].retryable, revisions[0].attempts) == (status, False, 1)
    assert reason in str(revisions[0].reason)
    assert [r.status for r in revisions[1:]] == [RevisionStatus.SUCCEEDED] * 2
    assert len(server.received) == 3


async def test_a_restarted_server_costs_each_row_at_most_one_attempt(server, runner: Runner):
    server.script = lambda number, request: server.completion(REVISED, delay_s=0.02)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    task = asyncio.create_task(
        runner.revise(
            make_rows(300), base_url=f"http://127.0.0.1:{port}/v1", max_attempts=3, max_concurrency=32
        )
    )
    while len(server.received) < 60:
        await asyncio.sleep(0.005)
    listener.close()
    server.hang_up()
    await asyncio.sleep(0.6)
    async with await asyncio.start_server(server.serve, "127.0.0.1", port):
        revisions = await task
    assert CallOutcome.CONNECTION_FAILED in runner.outcomes()
    assert {r.status for r in revisions} == {RevisionStatus.SUCCEEDED}
    assert len(revisions) == 300
    assert max(r.attempts for r in revisions) <= 2


async def test_an_answer_cut_by_length_is_asked_for_once_more_with_more_tokens(server, runner: Runner):
    server.in_turn(server.completion("Hello", "length"))
    (revision,) = await runner.revise(make_rows(1), max_tokens=10)
    assert (revision.status, revision.attempts) == (RevisionStatus.SUCCEEDED, 2)
    assert [r.body["max_tokens"] for r in server.received] == [10, 20]

    server.received.clear()
    server.script = lambda number, request: server.completion("Hello", "length")
    (revision,) = await runner.revise(make_rows(1), max_tokens=10)
    assert (revision.status, revision.retryable) == (RevisionStatus.REJECTED, False)
    assert "max_tokens" in str(revision.reason)
    assert len(server.received) == 2


@pytest.mark.parametrize("finish_reason", ["length", "model_length", "max_tokens", "MAX_TOKENS", None])
async def test_a_cut_answer_is_asked_for_with_more_tokens_by_any_finish_reason_or_none(
    server, runner: Runner, finish_reason: str | None
):
    server.in_turn(server.completion(REVISED if finish_reason else REVISED[:30], finish_reason))
    (revision,) = await runner.revise(make_rows(1), max_tokens=100)
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, REVISED, 2)
    assert [request.body["max_tokens"] for request in server.received] == [100, 200]
    assert runner.outcomes() == [CallOutcome.CUT_BY_LENGTH, CallOutcome.ANSWERED]


async def test_an_unfit_answer_is_asked_for_again_with_the_reason(server, runner: Runner):
    server.in_turn(server.completion(f"Sure, here is the revised response: {REVISED}"))
    (revision,) = await runner.revise(make_rows(1))
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, REVISED, 2)
    first, second = (request.body["messages"] for request in server.received)
    assert second[: len(first)] == first
    assert [message["role"] for message in second[len(first) :]] == ["assistant", "user"]
    assert "preamble" in second[-1]["content"]
    assert "preamble" in (runner.answers()[0].message or "")


async def test_an_answer_that_stays_unfit_is_rejected_with_the_reason(server, runner: Runner):
    server.script = lambda *_: server.completion(f"Sure, here is the revised response: {REVISED}")
    (revision,) = await runner.revise(make_rows(1), asked_again_max=2)
    assert revision.status is RevisionStatus.REJECTED
    assert "preamble" in (revision.reason or "")
    assert len(server.received) == 3
    # Only the last answer and its reason are sent again.
    assert len(server.received[2].body["messages"]) == len(server.received[1].body["messages"])

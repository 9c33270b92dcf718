"""The reviser against a server that misbehaves: every row accounted for, every call journalled."""

import asyncio
import itertools
import json
import logging
import socket
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import BudgetReachedError, ReviserError
from figa_core.llm.budget import Budget, Price
from figa_core.llm.calls import CallAnswered, CallOutcome, CallRecord, CallSent, RowSettled
from figa_core.llm.health import Patience
from figa_core.llm.journal import AnswerJournal, read
from figa_core.ports import RevisionRequest
from figa_core.records import Message, Revision, RevisionStatus
from figa_core.revision.client import OpenAIReviser
from figa_core.revision.settings import ReviserSettings

KEY = "sk-this-must-never-be-seen-anywhere"


class Runner:
    """One journal, and revisions through it."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.settings = ReviserSettings(
            url,
            "m",
            requests_per_minute=600_000,
            tokens_per_minute=1e9,
            timeout_s=5,
            backoff_s=0.005,
            drain_s=3,
        )

    @asynccontextmanager
    async def reviser(self, **changes: Any) -> AsyncIterator[OpenAIReviser]:
        async with (
            AnswerJournal(self.path, linger_s=0.002) as journal,
            OpenAIReviser(replace(self.settings, **changes), journal=journal, api_key=KEY) as reviser,
        ):
            yield reviser

    async def revise(self, rows: list[RevisionRequest], **changes: Any) -> list[Revision]:
        async with self.reviser(**changes) as reviser:
            return [revision async for revision in reviser.revise(rows)]

    def records(self) -> list[CallRecord]:
        return [record for record, _ in read(self.path)]

    def answers(self) -> list[CallAnswered]:
        return [record for record in self.records() if isinstance(record, CallAnswered)]

    def outcomes(self) -> list[CallOutcome]:
        return [record.outcome for record in self.answers()]


@pytest.fixture
def runner(server: Any, tmp_path: Path) -> Runner:
    return Runner(tmp_path / "journal.jsonl", server.url)


Rows = Callable[..., list[RevisionRequest]]


async def test_every_row_comes_back_once_and_its_calls_are_journalled(
    server, runner: Runner, make_rows: Rows, revised
):
    rows = make_rows(200)
    revisions = await runner.revise(rows)
    assert sorted(r.revision_id for r in revisions) == sorted(r.revision_id for r in rows)
    assert {(r.status, r.text, r.attempts) for r in revisions} == {(RevisionStatus.SUCCEEDED, revised, 1)}
    records = runner.records()
    assert sum(isinstance(record, CallSent) for record in records) == len(server.received) == 200
    assert {a.revision for a in runner.answers()} == set(revisions)
    assert {(a.prompt_tokens, a.completion_tokens) for a in runner.answers()} == {(100, 20)}


async def test_a_call_is_durable_before_it_is_sent(server, runner: Runner, make_rows: Rows, revised):
    seen: list[int] = []

    def script(number, request):
        seen.append(sum(isinstance(record, CallSent) for record in runner.records()))
        return server.completion(revised)

    server.script = script
    await runner.revise(make_rows(5), max_concurrency=1)
    assert seen == [1, 2, 3, 4, 5]


async def test_no_rows_make_no_calls(server, runner: Runner):
    assert await runner.revise([]) == []
    assert server.received == []


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
async def test_a_passing_fault_is_tried_again(server, runner: Runner, make_rows: Rows, fault, outcome):
    server.in_turn(fault(server), fault(server))
    (revision,) = await runner.revise(make_rows(1), timeout_s=1.0)
    assert (revision.status, revision.attempts) == (RevisionStatus.SUCCEEDED, 3)
    assert runner.outcomes() == [outcome, outcome, CallOutcome.ANSWERED]
    assert [a.attempt for a in runner.answers()] == [1, 2, 3]


async def test_a_row_whose_attempts_are_used_up_fails_and_may_be_retried(
    server, runner: Runner, make_rows: Rows
):
    server.script = lambda number, request: server.error(500, "the cat sat on the server")
    (revision,) = await runner.revise(make_rows(1), max_attempts=3)
    assert (revision.status, revision.retryable, revision.attempts) == (RevisionStatus.FAILED, True, 3)
    assert "3 attempts" in str(revision.reason)
    assert "the cat sat on the server" in str(revision.reason)
    assert runner.answers()[-1].revision == revision
    assert len(server.received) == 3


async def test_a_429_uses_up_no_attempt_and_its_retry_after_is_obeyed(
    server, runner: Runner, make_rows: Rows
):
    limited = [server.error(429, headers={"retry-after-ms": "200"}) for _ in range(6)]
    server.in_turn(*limited)
    (revision,) = await runner.revise(make_rows(1), max_attempts=2)
    assert (revision.status, revision.attempts) == (RevisionStatus.SUCCEEDED, 1)
    assert runner.outcomes() == [CallOutcome.RATE_LIMITED] * 6 + [CallOutcome.ANSWERED]
    times = [request.at for request in server.received]
    assert all(later - earlier >= 0.19 for earlier, later in itertools.pairwise(times))


async def test_one_429_holds_back_all_rows(server, runner: Runner, make_rows: Rows):
    server.in_turn(server.error(429, headers={"retry-after": "1"}))
    await runner.revise(make_rows(30), max_concurrency=1)
    assert server.received[1].at - server.received[0].at >= 0.99
    assert len(server.received) == 31


async def test_endless_429s_end_the_run(server, runner: Runner, make_rows: Rows):
    server.script = lambda number, request: server.error(429, "daily limit", headers={"retry-after": "40000"})
    with pytest.raises(ReviserError, match=r"requests_per_minute.*stay pending"):
        await runner.revise(make_rows(3))


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
async def test_an_end_of_one_row_is_final_and_stops_no_other(
    server, runner: Runner, make_rows: Rows, fault, status, reason
):
    server.in_turn(fault(server))
    revisions = await runner.revise(make_rows(3), max_concurrency=1, asked_again_max=0)
    revisions.sort(key=lambda revision: revision.revision_id)
    assert (revisions[0].status, revisions[0].retryable, revisions[0].attempts) == (status, False, 1)
    assert reason in str(revisions[0].reason)
    assert [r.status for r in revisions[1:]] == [RevisionStatus.SUCCEEDED] * 2
    assert len(server.received) == 3


async def test_an_answer_cut_by_length_is_asked_for_once_more_with_more_tokens(
    server, runner: Runner, make_rows: Rows
):
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


async def test_a_model_that_wants_the_limit_under_its_new_name_gets_it(
    server, runner: Runner, make_rows: Rows, revised
):
    def script(number, request):
        if "max_tokens" in request.body:
            return server.error(
                400, "use max_completion_tokens", param="max_tokens", code="unsupported_parameter"
            )
        return server.completion(revised)

    server.script = script
    revisions = await runner.revise(make_rows(20), max_concurrency=4)
    assert {(r.status, r.attempts) for r in revisions} == {(RevisionStatus.SUCCEEDED, 1)}
    assert len(server.received) <= 24


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (lambda s: s.error(401, f"Incorrect API key provided: {KEY}"), "api_key_env"),
        (lambda s: s.error(403, "your account is suspended"), "api_key_env"),
        (lambda s: s.error(404, "no such model", code="model_not_found"), "revision.model"),
        (lambda s: s.error(429, "pay first", code="insufficient_quota"), "Top up"),
        (
            lambda s: s.error(400, "temperature must be positive", param="temperature"),
            r"revision\.temperature",
        ),
    ],
)
async def test_what_refuses_every_row_ends_the_run_at_the_first(
    server, runner: Runner, make_rows: Rows, caplog: pytest.LogCaptureFixture, fault, advice
):
    caplog.set_level(logging.DEBUG)
    server.script = lambda number, request: fault(server)
    async with runner.reviser(max_concurrency=4) as reviser:
        with pytest.raises(ReviserError, match=advice) as caught:
            _ = [r async for r in reviser.revise(make_rows(1000))]
        shown = repr(reviser) + str(reviser.settings)
    assert server.url in str(caught.value)
    assert len(server.received) <= 8
    assert len(runner.answers()) == len(server.received)
    assert not any(answer.revision for answer in runner.answers())
    shown += "".join(traceback.format_exception(caught.value)) + caplog.text + runner.path.read_text()
    assert KEY not in shown


async def test_the_calls_under_way_when_the_run_ends_are_journalled_and_yielded(
    server, runner: Runner, make_rows: Rows, revised
):
    def script(number, request):
        return server.error(401) if number == 3 else server.completion(revised, delay_s=0.4)

    server.script = script
    revisions: list[Revision] = []

    async def collect(reviser: OpenAIReviser) -> None:
        async for revision in reviser.revise(make_rows(100)):
            revisions.append(revision)  # noqa: PERF401 - the list must survive the exception

    async with runner.reviser(max_concurrency=4) as reviser:
        with pytest.raises(ReviserError):
            await collect(reviser)
    assert len(revisions) == 3
    assert {a.revision for a in runner.answers() if a.revision} == set(revisions)


async def test_a_server_that_is_not_there_ends_the_run_after_few_attempts(
    runner: Runner, make_rows: Rows, server
):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(ReviserError, match=url):
            await runner.revise(make_rows(10_000), base_url=url, max_concurrency=16)
    assert 10 <= len(runner.answers()) <= 26
    assert set(runner.outcomes()) == {CallOutcome.CONNECTION_FAILED}
    assert not any(answer.revision for answer in runner.answers())


async def test_a_server_that_only_talks_nonsense_ends_the_run(server, runner: Runner, make_rows: Rows):
    server.script = lambda number, request: replace(server.completion("x"), body=b"hello")
    with pytest.raises(ReviserError, match="no usable answer"):
        await runner.revise(make_rows(1000), patience=Patience(useless_calls=5), max_concurrency=2)
    assert len(server.received) < 20


async def test_a_server_that_refuses_the_first_rows_all_alike_ends_the_run(
    server, runner: Runner, make_rows: Rows
):
    server.script = lambda number, request: server.error(400, "unknown field: messages")
    with pytest.raises(ReviserError, match="unknown field: messages"):
        await runner.revise(make_rows(1000), max_concurrency=2)
    assert len(server.received) <= 12


async def test_cancelling_lets_the_calls_under_way_finish_and_journals_them(
    server, runner: Runner, make_rows: Rows, revised
):
    server.script = lambda number, request: server.completion(revised, delay_s=0.4)
    task = asyncio.create_task(runner.revise(make_rows(100), max_concurrency=8))
    while len(server.received) < 8:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(server.received) == 8
    assert runner.outcomes() == [CallOutcome.ANSWERED] * 8


async def test_leaving_the_loop_early_leaves_nothing_behind(server, runner: Runner, make_rows: Rows):
    async with runner.reviser(max_concurrency=4) as reviser:
        revisions = reviser.revise(make_rows(100))
        await anext(revisions)
        await revisions.aclose()  # type: ignore[attr-defined]
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any(name.startswith("reviser") for name in names)
    assert len(runner.answers()) == len(server.received) < 30


async def test_closing_the_reviser_journals_the_calls_of_a_loop_left_by_break(
    server, runner: Runner, make_rows: Rows, revised
):
    server.script = lambda number, request: server.completion(revised, delay_s=0.1 + 0.2 * (number > 0))
    async with runner.reviser(max_concurrency=4) as reviser:
        revisions = reviser.revise(make_rows(100))
        async for _ in revisions:
            break
    assert len(server.received) >= 4
    assert runner.outcomes() == [CallOutcome.ANSWERED] * len(server.received)
    await revisions.aclose()  # type: ignore[attr-defined]


async def test_the_drain_is_bounded(server, runner: Runner, make_rows: Rows, revised):
    server.script = lambda number, request: server.completion(revised, delay_s=30)
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


async def test_a_text_that_no_request_can_carry_is_recorded_with_its_reason(
    server, runner: Runner, make_rows: Rows
):
    broken = replace(make_rows(1)[0], messages=(Message("user", "half a pair \ud800"),))
    revisions = await runner.revise([broken, *make_rows(2)[1:]], max_concurrency=1)
    assert [r.status for r in revisions] == [RevisionStatus.FAILED, RevisionStatus.SUCCEEDED]
    assert "surrogates" in str(revisions[0].reason)
    assert [r.revision for r in runner.records() if isinstance(r, RowSettled)] == [revisions[0]]


async def test_white_space_at_the_ends_is_no_edit(server, runner: Runner, make_rows: Rows, draft, revised):
    (revision,) = await runner.revise(make_rows(1, draft=f"{draft}\n\n"))
    assert revision.text == f"{revised}\n\n"
    server.script = lambda number, request: server.completion(draft)
    (revision,) = await runner.revise(make_rows(1, draft=f" {draft}\n"))
    assert revision.status is RevisionStatus.UNCHANGED


async def test_the_permitted_rate_is_not_exceeded(server, runner: Runner, make_rows: Rows):
    """That it is reached, and holds over every window, is shown on a clock that no other work disturbs."""
    await runner.revise(make_rows(150), requests_per_minute=3000)
    times = [request.at for request in server.received]
    assert times[-1] - times[0] > (150 - 12.5) / (3000 / 60) - 0.5


async def test_half_of_the_calls_failing_in_every_way_lose_no_row(
    server, runner: Runner, make_rows: Rows, revised
):
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
        return faults[number // 2 % len(faults)] if number % 2 else server.completion(revised)

    server.script = script
    rows = make_rows(150)
    revisions = await runner.revise(rows, max_attempts=20, requests_per_minute=6e7)
    assert {r.revision_id for r in revisions} == {r.revision_id for r in rows}
    assert {r.status for r in revisions} == {RevisionStatus.SUCCEEDED}
    calls = runner.answers()
    assert len(calls) == len(server.received)
    for revision in revisions:
        own = [c for c in calls if c.revision_id == revision.revision_id]
        counted = [c for c in own if c.outcome is not CallOutcome.RATE_LIMITED]
        assert revision.attempts == len(counted) == own[-1].attempt


async def test_two_batches_at_once_share_one_reviser(server, runner: Runner, make_rows: Rows):
    rows = make_rows(60)

    async def collect(reviser: OpenAIReviser, part: list[RevisionRequest]) -> set[str]:
        return {revision.revision_id async for revision in reviser.revise(part)}

    async with runner.reviser(max_concurrency=4) as reviser:
        first, second = await asyncio.gather(collect(reviser, rows[:30]), collect(reviser, rows[30:]))
    assert first == {r.revision_id for r in rows[:30]}
    assert second == {r.revision_id for r in rows[30:]}


@pytest.mark.parametrize("key", ["", " sk-secret", "sk-secret\n", "sk-sécret"])
async def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(runner: Runner, key: str):
    async with AnswerJournal(runner.path) as journal:
        with pytest.raises(ReviserError, match="api_key_env") as caught:
            OpenAIReviser(runner.settings, journal=journal, api_key=key)
    assert not key.strip() or key.strip() not in str(caught.value)


@pytest.mark.parametrize("url", ["", "api.example.com/v1", "ftp://example.com", "http://[broken"])
async def test_an_address_that_is_none_is_refused(runner: Runner, url: str):
    async with AnswerJournal(runner.path) as journal:
        with pytest.raises(ReviserError, match="base_url"):
            OpenAIReviser(replace(runner.settings, base_url=url), journal=journal, api_key=KEY)


async def test_a_password_in_the_address_is_not_shown(runner: Runner):
    settings = replace(runner.settings, base_url="https://me:secret@example.com/v1?key=secret")
    async with (
        AnswerJournal(runner.path) as journal,
        OpenAIReviser(settings, journal=journal, api_key=KEY) as reviser,
    ):
        assert repr(reviser) == "OpenAIReviser(ChatEndpoint(url='https://example.com/v1', model='m'))"


async def test_a_server_that_is_started_anew_costs_the_rows_at_most_one_attempt(
    server, runner: Runner, make_rows: Rows, revised
):
    server.script = lambda number, request: server.completion(revised, delay_s=0.02)
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


PRICE = Price(usd_per_million_prompt_tokens=100.0, usd_per_million_completion_tokens=1000.0)
EACH = 100 * 100e-6 + 20 * 1000e-6  # the usage that the misbehaving server states


async def test_every_call_is_journalled_with_what_was_reserved_and_what_it_cost(
    server, runner: Runner, make_rows: Rows, revised
):
    server.in_turn(server.error(500), server.completion(revised, usage=None))
    await runner.revise(make_rows(3), price=PRICE, max_concurrency=1)
    sent = [record for record in runner.records() if isinstance(record, CallSent)]
    assert [answer.cost_usd for answer in runner.answers()] == [
        0.0,
        None,
        pytest.approx(EACH),
        pytest.approx(EACH),
    ]
    assert all(call.reserved_usd is not None and call.reserved_usd > EACH for call in sent)


async def test_at_the_end_of_the_budget_no_more_is_sent_and_no_answer_is_lost(
    server, runner: Runner, make_rows: Rows
):
    cap = 3.0
    settled: list[Revision] = []

    async def collect(reviser: OpenAIReviser) -> None:
        async for revision in reviser.revise(make_rows(1000)):
            settled.append(revision)  # noqa: PERF401 (an error ends it, and what came before counts)

    async with (
        AnswerJournal(runner.path, linger_s=0.002) as journal,
        OpenAIReviser(
            replace(runner.settings, price=PRICE), journal=journal, api_key=KEY, budget=Budget(cap)
        ) as reviser,
    ):
        with pytest.raises(BudgetReachedError):
            await collect(reviser)
    answers = runner.answers()
    spent = sum(answer.cost_usd or 0.0 for answer in answers)
    most = max(r.reserved_usd or 0.0 for r in runner.records() if isinstance(r, CallSent))
    assert cap - most < spent <= cap
    assert len(settled) == len(answers) == len(server.received)


async def test_an_unfit_answer_is_asked_for_again_with_the_reason(
    server, runner: Runner, make_rows: Rows, revised
):
    server.in_turn(server.completion(f"Sure, here is the revised response: {revised}"))
    (revision,) = await runner.revise(make_rows(1))
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, revised, 2)
    first, second = (request.body["messages"] for request in server.received)
    assert second[: len(first)] == first
    assert [message["role"] for message in second[len(first) :]] == ["assistant", "user"]
    assert "preamble" in second[-1]["content"]
    assert "preamble" in (runner.answers()[0].message or "")


async def test_an_answer_that_stays_unfit_is_rejected_with_the_reason(
    server, runner: Runner, make_rows: Rows, revised
):
    server.script = lambda *_: server.completion(f"Sure, here is the revised response: {revised}")
    (revision,) = await runner.revise(make_rows(1), asked_again_max=2)
    assert revision.status is RevisionStatus.REJECTED
    assert "preamble" in (revision.reason or "")
    assert len(server.received) == 3
    # What was wrong before the last answer is not repeated with it.
    assert len(server.received[2].body["messages"]) == len(server.received[1].body["messages"])


async def test_a_structured_answer_is_asked_for_and_read(server, runner: Runner, make_rows: Rows, revised):
    body = json.dumps({"revised_response": revised})
    server.script = lambda *_: server.completion(body)
    (revision,) = await runner.revise(make_rows(1))
    assert revision.text == revised
    assert server.received[0].body["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    "refusal",
    [
        {"param": "response_format", "code": "unsupported_parameter"},
        {"param": "response_format.json_schema"},
        {},
    ],
)
async def test_an_endpoint_without_structured_output_is_asked_for_plain_text_from_then_on(
    server, runner: Runner, make_rows: Rows, revised, refusal
):
    def script(number, request):
        if "response_format" in request.body:
            return server.error(400, "response_format of type json_schema is not supported", **refusal)
        return server.completion(revised)

    server.script = script
    revisions = await runner.revise(make_rows(20), max_concurrency=4)
    assert {(r.status, r.attempts) for r in revisions} == {(RevisionStatus.SUCCEEDED, 1)}
    refused = sum("response_format" in request.body for request in server.received)
    assert 1 <= refused <= 4  # those that were under way together


async def test_fields_left_out_by_setting_are_in_no_request(server, runner: Runner, make_rows: Rows, revised):
    server.in_turn(server.completion(revised, "length"), server.completion(revised))
    await runner.revise(make_rows(1), leave_out=frozenset({"max_tokens", "stream"}))
    assert len(server.received) == 2
    for request in server.received:
        assert not {"max_tokens", "max_completion_tokens", "stream"} & request.body.keys()


@pytest.mark.parametrize("finish_reason", ["length", "model_length", "max_tokens", "MAX_TOKENS"])
async def test_an_answer_that_was_cut_is_asked_for_with_more_room_whatever_that_is_called(
    server, runner: Runner, make_rows: Rows, revised, finish_reason
):
    server.in_turn(server.completion(revised, finish_reason))
    (revision,) = await runner.revise(make_rows(1), max_tokens=100)
    assert (revision.status, revision.attempts) == (RevisionStatus.SUCCEEDED, 2)
    assert [request.body["max_tokens"] for request in server.received] == [100, 200]
    assert runner.outcomes() == [CallOutcome.CUT_BY_LENGTH, CallOutcome.ANSWERED]


async def test_an_answer_cut_without_a_word_is_asked_for_with_more_room(
    server, runner: Runner, make_rows: Rows, revised
):
    server.in_turn(server.completion(revised[:30], None))
    (revision,) = await runner.revise(make_rows(1), max_tokens=100)
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, revised, 2)
    assert [request.body["max_tokens"] for request in server.received] == [100, 200]
    assert runner.outcomes() == [CallOutcome.CUT_BY_LENGTH, CallOutcome.ANSWERED]


async def test_an_answer_that_stays_cut_says_what_to_raise(server, runner: Runner, make_rows: Rows, revised):
    server.script = lambda *_: server.completion(revised[:30], None)
    (revision,) = await runner.revise(make_rows(1))
    assert revision.status is RevisionStatus.REJECTED
    assert "revision.max_tokens" in str(revision.reason)
    assert len(server.received) == 2


async def test_a_server_that_never_says_how_an_answer_ended_is_served(
    server, runner: Runner, make_rows: Rows, revised
):
    server.script = lambda *_: server.completion(revised, None, usage=None)
    revisions = await runner.revise(make_rows(3))
    assert {(r.status, r.text, r.attempts) for r in revisions} == {(RevisionStatus.SUCCEEDED, revised, 1)}


async def test_an_unknown_end_is_asked_about_again_and_named(
    server, runner: Runner, make_rows: Rows, revised
):
    server.script = lambda *_: server.completion(revised, "tool_calls")
    (revision,) = await runner.revise(make_rows(1))
    assert revision.status is RevisionStatus.REJECTED
    assert "'tool_calls'" in str(revision.reason)
    assert len(server.received) == 2


async def test_an_empty_answer_of_thoughts_says_so(server, runner: Runner, make_rows: Rows):
    message = {"role": "assistant", "content": None, "reasoning_content": "The lamp is red."}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    server.script = lambda *_: server.json(body)
    (revision,) = await runner.revise(make_rows(1))
    assert revision.status is RevisionStatus.REJECTED
    assert "thoughts (reasoning_content)" in str(revision.reason)


async def test_a_text_with_half_a_character_is_paid_for_once(
    server, runner: Runner, make_rows: Rows, revised
):
    server.script = lambda *_: server.completion(f"{revised} \ud83d")
    (revision,) = await runner.revise(make_rows(1))
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, revised, 1)


@pytest.mark.parametrize(
    "around",
    [
        "<think>\nFew edits.\n</think>\n\n{}",
        "Few edits.\n</think>\n\n{}",
        '```json\n{{"revised_response": "{}"}}\n```',
    ],
)
async def test_thoughts_and_fences_are_no_part_of_the_revision(
    server, runner: Runner, make_rows: Rows, revised, around
):
    server.script = lambda *_: server.completion(around.format(revised))
    (revision,) = await runner.revise(make_rows(1))
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, revised, 1)


async def test_something_around_the_revision_is_asked_about_again_with_what_it_is(
    server, runner: Runner, make_rows: Rows, revised
):
    server.in_turn(server.completion(f"Hier ist die korrigierte Antwort:\n\n{revised}"))
    (revision,) = await runner.revise(make_rows(1))
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, revised, 2)
    assert "Hier ist die korrigierte Antwort" in server.received[1].body["messages"][-1]["content"]

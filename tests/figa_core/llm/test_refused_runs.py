"""Revisions by endpoints that refuse rows: what ends the run, settles a row, or leaves it open."""

import pytest

from figa_core.llm.doubts import Suspicion, beyond_chance
from figa_core.ports import RevisionRequest
from figa_core.records import Message, RevisionStatus
from tests.figa_core.llm.runs import DRAFT, Asked, Run, collect, number_of, refusing, revised

CREDIT = {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API."}
FLAGGED = "Your chosen model requires moderation and your input was flagged"


@pytest.mark.parametrize("concurrency", [1, 8, 64])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, CREDIT),
        (402, {"message": "Insufficient Balance"}),
        (403, {"message": "用户额度不足", "code": "insufficient_user_quota"}),
        (401, {"message": "Incorrect API key provided", "code": "invalid_api_key"}),
        (400, {"message": "words that nobody has seen before"}),
        (422, {"message": "words that nobody has seen before"}),
        (403, {"message": "words that nobody has seen before"}),
        (400, {"message": "This prompt was flagged by our content filter"}),
        (400, {"message": "This model's maximum context length is 10 tokens, you asked for 1024"}),
        (500, {"message": "words that nobody has seen before"}),
    ],
)
async def test_refusals_of_all_rows_from_some_row_on_end_the_run_and_write_off_no_row(
    server, run: Run, status: int, error: dict[str, str], concurrency: int
):
    refusing(server, lambda number, _: server.error(status, **error) if number >= 20 else None)
    asked = await run.ask(400, max_concurrency=concurrency, max_attempts=3)
    assert asked.error is not None
    assert error["message"] in str(asked.error)
    assert "run again" in str(asked.error) or "stay pending" in str(asked.error)
    assert asked.written_off == []
    assert asked.count(RevisionStatus.SUCCEEDED) == 20
    assert len(server.received) <= 20 + 50 + 3 * concurrency


@pytest.mark.parametrize("status", [400, 403, 422, 500])
async def test_refusals_of_all_rows_from_the_start_end_the_run_after_a_handful(server, run: Run, status: int):
    refusing(server, lambda number, _: server.error(status, f"never heard of it (request id 7f{number}a)"))
    asked = await run.ask(300, max_concurrency=4, max_attempts=2)
    assert "never heard of it" in str(asked.error)
    assert asked.written_off == []
    assert len(server.received) <= 30


async def test_a_slow_answer_to_a_call_sent_before_the_account_ran_empty_proves_nothing(server, run: Run):
    def script(number, request):
        if number < 8:
            return revised(server, request, delay_s=0.3)
        return server.error(400, "nobody knows these words")

    server.script = script
    asked = await run.ask(400, max_concurrency=16)
    assert asked.error is not None
    assert asked.written_off == []
    assert asked.count(RevisionStatus.SUCCEEDED) == 8
    assert len(server.received) <= 8 + 16 + 16


@pytest.mark.parametrize("concurrency", [1, 128])
@pytest.mark.parametrize("flagged", [1 / 20, pytest.param(0.3, marks=pytest.mark.slow)])
async def test_flagged_prompts_settle_their_rows_and_the_run_goes_on(
    server, run: Run, concurrency: int, flagged: float
):
    every = round(1 / flagged)

    def script(number, request):
        if number_of(request) % every == 0:
            return server.error(403, FLAGGED, metadata={"reasons": ["violence"]})
        return revised(server, request, delay_s=0.05)  # refusals are quicker than answers

    server.script = script
    asked = await run.ask(300, max_concurrency=concurrency)
    assert asked.error is None
    expected = len(range(0, 300, every))
    assert asked.count(RevisionStatus.REFUSED) == expected
    assert asked.count(RevisionStatus.SUCCEEDED) == 300 - expected
    assert len(server.received) == 300
    assert all("flagged" in str(r.reason) for r in asked.written_off)


async def test_a_row_is_settled_by_its_own_refusal_although_it_is_the_last(server, run: Run):
    refusing(server, lambda _, request: server.error(403, FLAGGED) if number_of(request) == 9 else None)
    asked = await run.ask(10, max_concurrency=1)
    assert asked.error is None
    assert [r.revision_id for r in asked.written_off] == ["rev-0009"]


async def test_refusals_in_unknown_words_leave_their_rows_open(server, run: Run):
    refusing(server, lambda _, request: server.error(400, "no") if number_of(request) % 10 == 3 else None)
    asked = await run.ask(100, max_concurrency=8)
    assert asked.error is None
    assert asked.written_off == []
    assert asked.count(RevisionStatus.FAILED) == 10
    assert asked.count(RevisionStatus.SUCCEEDED) == 90


async def test_half_of_the_rows_refused_in_different_unknown_words_stay_open(server, run: Run):
    def words(_, request):
        number = number_of(request)
        return server.error(400, f"{'abcdefghij'[number % 10]} is wrong") if number % 2 else None

    refusing(server, words)
    asked = await run.ask(100, max_concurrency=8)
    assert asked.error is None
    assert (asked.written_off, asked.count(RevisionStatus.FAILED)) == ([], 50)


async def test_rows_that_are_too_large_for_the_endpoint_are_settled(server, run: Run):
    refusing(server, lambda _, request: server.error(413) if number_of(request) in (3, 17) else None)
    asked = await run.ask(40, max_concurrency=4)
    assert asked.error is None
    assert {r.revision_id for r in asked.written_off} == {"rev-0003", "rev-0017"}


async def test_the_refusals_of_several_small_batches_are_counted_together(server, run: Run):
    asked = Asked()
    refusing(server, lambda *_: server.error(400, "never heard of it"))
    async with run.reviser(max_concurrency=1) as reviser:
        for batch in range(10):
            rows = [
                RevisionRequest(f"r{batch}-{i}", f"y{i}", (Message("user", "?"),), DRAFT.format(i), None)
                for i in range(2)
            ]
            await collect(reviser, rows, asked)
            if asked.error is not None:
                break
    assert len(server.received) == 5
    assert asked.written_off == []


async def test_if_every_refusal_is_tolerated_none_ends_the_run(server, run: Run):
    refusing(server, lambda _, request: server.error(403, FLAGGED) if number_of(request) else None)
    asked = await run.ask(40, max_concurrency=1, suspicion=Suspicion(row=beyond_chance(1.0)))
    assert asked.error is None
    assert len(asked.written_off) == 39

"""Whole revisions against endpoints that refuse: what ends the run, settles a row, and stays open."""

from dataclasses import replace

import pytest

from figa_core.llm.budget import Budget, Price
from figa_core.llm.doubts import Suspicion, beyond_chance
from figa_core.ports import RevisionRequest
from figa_core.records import Message, RevisionStatus
from tests.figa_core.revision.runs import DRAFT, Asked, Run, collect, number_of, refusing, revised

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
async def test_what_refuses_everything_from_some_row_on_ends_the_run_and_writes_no_row_off(
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
async def test_what_refuses_everything_from_the_start_ends_the_run_at_a_handful_of_rows(
    server, run: Run, status: int
):
    refusing(server, lambda number, _: server.error(status, f"never heard of it (request id 7f{number}a)"))
    asked = await run.ask(300, max_concurrency=4, max_attempts=2)
    assert "never heard of it" in str(asked.error)
    assert asked.written_off == []
    assert len(server.received) <= 30


async def test_a_slow_answer_to_a_call_sent_before_the_account_ran_empty_shows_nothing(server, run: Run):
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
@pytest.mark.parametrize("flagged", [1 / 20, 0.3])
async def test_flagged_prompts_settle_their_rows_and_the_run_goes_on(
    server, run: Run, concurrency: int, flagged: float
):
    every = round(1 / flagged)

    def script(number, request):
        if number_of(request) % every == 0:
            return server.error(403, FLAGGED, metadata={"reasons": ["violence"]})
        return revised(server, request, delay_s=0.05)  # a refusal is quicker than an answer

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


async def test_refusals_in_words_that_nobody_knows_leave_their_rows_open(server, run: Run):
    refusing(server, lambda _, request: server.error(400, "no") if number_of(request) % 10 == 3 else None)
    asked = await run.ask(100, max_concurrency=8)
    assert asked.error is None
    assert asked.written_off == []
    assert asked.count(RevisionStatus.FAILED) == 10
    assert asked.count(RevisionStatus.SUCCEEDED) == 90


async def test_half_of_the_rows_refused_each_in_its_own_words_are_open_in_the_end(server, run: Run):
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


async def test_one_rows_longer_request_that_the_model_does_not_allow_settles_that_row(server, run: Run):
    def script(number, request):
        if request.body.get("max_tokens", 0) > 100:
            words = "max_tokens is too large: 200. This model supports at most 100 completion tokens"
            return server.error(400, words, param="max_tokens", code="invalid_value")
        if number_of(request) == 3:
            return server.completion("Hello", "length")
        return revised(server, request)

    server.script = script
    asked = await run.ask(20, max_concurrency=1, max_tokens=100)
    assert asked.error is None
    (cut,) = asked.written_off
    assert (cut.revision_id, cut.status) == ("rev-0003", RevisionStatus.REJECTED)
    assert "cut by length" in str(cut.reason)
    assert "at most 100" in str(cut.reason)
    assert asked.notes == []
    assert all("max_tokens" in request.body for request in server.received)


async def test_a_row_that_is_too_long_with_the_reason_to_ask_again_keeps_that_reason(server, run: Run):
    def script(number, request):
        if len(request.body["messages"]) > 2:
            return server.error(400, "maximum context length is 100 tokens", code="context_length_exceeded")
        return server.completion("") if number_of(request) == 1 else revised(server, request)

    server.script = script
    asked = await run.ask(5, max_concurrency=1)
    (row,) = asked.written_off
    assert row.status is RevisionStatus.REJECTED
    assert "empty" in str(row.reason)
    assert "maximum context length" in str(row.reason)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("temperature", "Unsupported parameter: 'temperature' is not supported with this model."),
        ("temperature", "'temperature' does not support 0. Only the default (1) value is supported."),
        ("response_format", "Unrecognized request argument supplied: response_format"),
        ("stream", "[{'type': 'extra_forbidden', 'loc': ('body', 'stream'), 'msg': 'Extra inputs'}]"),
    ],
)  # fmt: skip
async def test_a_field_that_the_model_does_not_take_is_left_out_from_then_on_and_said_once(
    server, run: Run, field: str, words: str
):
    refusing(server, lambda _, request: server.error(400, words) if field in request.body else None)
    asked = await run.ask(60, max_concurrency=8)
    assert asked.count(RevisionStatus.SUCCEEDED) == 60
    assert sum(field in request.body for request in server.received) <= 8
    [note] = asked.notes
    assert field in note
    assert {revision.attempts for revision in asked.revisions.values()} == {1}


async def test_rows_whose_json_fails_although_none_was_asked_for_stay_open_and_the_run_goes_on(
    server, run: Run
):
    def refuse(_, request):
        return server.error(400, "Failed to generate JSON.") if number_of(request) in (3, 11) else None

    refusing(server, refuse)
    asked = await run.ask(30, max_concurrency=1)
    assert asked.error is None
    assert asked.written_off == []
    assert asked.count(RevisionStatus.SUCCEEDED) == 28
    assert sum("response_format" in request.body for request in server.received) == 4


async def test_the_limit_is_renamed_and_then_left_out_where_no_budget_relies_on_it(server, run: Run):
    def refuse(_, request):
        for name in ("max_tokens", "max_completion_tokens"):
            if name in request.body:
                return server.error(400, f"Unknown parameter: '{name}'", code="unknown_parameter", param=name)
        return None

    refusing(server, refuse)
    asked = await run.ask(20, max_concurrency=2)
    assert asked.count(RevisionStatus.SUCCEEDED) == 20
    assert len(asked.notes) == 2

    run.path = run.path.with_name("capped.jsonl")
    capped = await run.ask(20, max_concurrency=2, budget=Budget(1.0), price=Price(1.0, 1.0))
    assert "max_completion_tokens" in str(capped.error)
    assert capped.revisions == {}


async def test_a_temperature_that_must_be_positive_ends_the_run_and_says_what_to_set(server, run: Run):
    """Left out, it would be the provider's own: the decoding would change behind the user's back."""
    words = "Input validation error: `temperature` must be strictly positive"
    refusing(
        server, lambda _, request: server.error(422, words) if request.body["temperature"] == 0 else None
    )
    asked = await run.ask(30, max_concurrency=2)
    assert "strictly positive" in str(asked.error)
    assert (
        'revision.temperature to a value the model takes, such as 0.01 for nearly greedy, or to "none"'
        in str(asked.error)
    )
    assert asked.revisions == {}
    assert asked.notes == []


async def test_without_a_temperature_none_is_sent_and_a_stream_is_declined(server, run: Run):
    await run.ask(1, temperature=None)
    body = server.received[0].body
    assert "temperature" not in body
    assert body["stream"] is False


async def test_a_model_without_system_messages_gets_their_text_with_the_users(server, run: Run):
    def refuse(_, request):
        roles = [message["role"] for message in request.body["messages"]]
        return server.error(400, "System role not supported") if "system" in roles else None

    refusing(server, refuse)
    asked = await run.ask(20, max_concurrency=2)
    assert asked.count(RevisionStatus.SUCCEEDED) == 20
    system, user = server.received[0].body["messages"]
    [merged] = server.received[-1].body["messages"]
    assert merged["role"] == "user"
    assert merged["content"].startswith(system["content"])
    assert user["content"].rpartition("<response>")[0] in merged["content"]


@pytest.mark.parametrize("status", [503, 529, 500])
async def test_a_busy_server_that_says_how_long_to_wait_holds_all_calls_and_uses_up_no_attempt(
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


async def test_a_redirect_names_the_place_it_leads_to(server, run: Run):
    refusing(server, lambda *_: server.error(301, headers={"location": "https://elsewhere.example/v1/x"}))
    asked = await run.ask(2, max_concurrency=1)
    assert "https://elsewhere.example/v1/x" in str(asked.error)


@pytest.mark.parametrize("status", [502, 403])
async def test_a_page_of_html_is_shown_by_its_title(server, run: Run, status: int):
    page = b"<html><head><title>Go away</title></head><body><p>x</p></body></html>"
    refusing(server, lambda *_: replace(server.error(status), body=page))
    asked = await run.ask(30, max_concurrency=2, max_attempts=2)
    assert f"HTTP {status}: a page of HTML: Go away" in str(asked.error)
    assert "<p>" not in str(asked.error)
    assert asked.written_off == []


async def test_a_rate_told_with_a_quotas_words_is_waited_for(server, run: Run):
    body = {"error": {"message": "You exceeded your current quota", "details": [{"retryDelay": "0.2s"}]}}
    server.script = lambda number, request: (
        server.json(body, status=429) if number == 0 else revised(server, request)
    )
    asked = await run.ask(3, max_concurrency=1)
    assert asked.count(RevisionStatus.SUCCEEDED) == 3


async def test_the_refusals_of_several_small_batches_are_counted_together(server, run: Run):
    asked = Asked()
    refusing(server, lambda *_: server.error(400, "never heard of it"))
    async with run.reviser(asked, max_concurrency=1) as reviser:
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


async def test_where_every_refusal_is_tolerated_none_ends_the_run(server, run: Run):
    refusing(server, lambda _, request: server.error(403, FLAGGED) if number_of(request) else None)
    asked = await run.ask(40, max_concurrency=1, suspicion=Suspicion(row=beyond_chance(1.0)))
    assert asked.error is None
    assert len(asked.written_off) == 39


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


async def test_a_row_that_alone_makes_a_server_busy_costs_its_attempts_and_holds_the_others_once(
    server, run: Run
):
    busy = server.error(503, "down for a moment", headers={"retry-after": "1"})
    refusing(server, lambda _, request: busy if number_of(request) == 2 else None)
    asked = await run.ask(100, max_concurrency=4, max_attempts=3)
    assert asked.error is None
    assert asked.count(RevisionStatus.SUCCEEDED) == 99
    assert asked.revisions["rev-0002"].retryable
    assert server.received[-1].at - server.received[0].at < 30
    assert len(server.received) <= 99 + 5


async def test_a_conversation_of_four_turns_that_a_template_refuses_costs_no_other_row(server, run: Run):
    """A model that takes neither a system message nor the turns of a row that is asked again."""

    def script(number, request):
        roles = [message["role"] for message in request.body["messages"]]
        if roles != ["user"]:
            return server.error(400, "Conversation roles must alternate user/assistant/user/assistant")
        return (
            server.completion("")
            if "number 3 " in request.body["messages"][0]["content"]
            else (server.completion("Hello Ann, your red lamp number 0 will arrive in Rome in three days."))
        )

    server.script = script
    asked = await run.ask(10, max_concurrency=1)
    assert asked.error is None
    assert [r.revision_id for r in asked.written_off] == ["rev-0003"]
    assert "empty" in str(asked.written_off[0].reason)
    assert asked.count(RevisionStatus.SUCCEEDED) == 9

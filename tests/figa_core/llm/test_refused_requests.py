"""Revisions by endpoints that do not support a part of the request."""

import pytest

from figa_core.llm.budget import Budget, Price
from figa_core.records import RevisionStatus
from tests.figa_core.llm.runs import Run, number_of, refusing, revised


async def test_a_longer_request_that_the_model_refuses_settles_its_row(server, run: Run):
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


async def test_a_row_too_long_to_be_asked_again_keeps_the_reason(server, run: Run):
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
async def test_an_unsupported_field_is_left_out_from_then_on_with_one_note(
    server, run: Run, field: str, words: str
):
    refusing(server, lambda _, request: server.error(400, words) if field in request.body else None)
    asked = await run.ask(60, max_concurrency=8)
    assert asked.count(RevisionStatus.SUCCEEDED) == 60
    assert sum(field in request.body for request in server.received) <= 8
    [note] = asked.notes
    assert field in note
    assert {revision.attempts for revision in asked.revisions.values()} == {1}


async def test_rows_that_fail_with_json_that_was_not_asked_for_stay_open_and_the_run_continues(
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


async def test_the_limit_is_renamed_and_then_left_out_unless_a_budget_relies_on_it(server, run: Run):
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


async def test_a_temperature_that_must_be_positive_ends_the_run_with_advice(server, run: Run):
    """If it were left out, the provider's default would apply without the user's knowledge."""
    words = "Input validation error: `temperature` must be strictly positive"
    refusing(
        server, lambda _, request: server.error(422, words) if request.body["temperature"] == 0 else None
    )
    asked = await run.ask(30, max_concurrency=2)
    assert "strictly positive" in str(asked.error)
    assert (
        'revision.temperature to a value the model accepts, such as 0.01 for nearly greedy, or to "none"'
        in str(asked.error)
    )
    assert asked.revisions == {}
    assert asked.notes == []


async def test_without_a_temperature_none_is_sent_and_a_stream_is_declined(server, run: Run):
    await run.ask(1, temperature=None)
    body = server.received[0].body
    assert "temperature" not in body
    assert body["stream"] is False


async def test_a_model_without_system_messages_gets_their_text_before_the_users(server, run: Run):
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


async def test_a_conversation_of_four_turns_that_a_template_refuses_costs_no_other_row(server, run: Run):
    """A model that supports neither a system message nor the turns of a repeated question."""

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

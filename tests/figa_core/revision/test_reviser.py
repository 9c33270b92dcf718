"""Revisions from request to final state."""

import json

import pytest

from figa_core.records import RevisionStatus
from tests.figa_core.llm.misbehaving import DRAFT, REVISED
from tests.figa_core.llm.runs import Runner, make_rows


async def test_white_space_at_the_ends_is_not_an_edit(server, runner: Runner):
    (revision,) = await runner.revise(make_rows(1, draft=f"{DRAFT}\n\n"))
    assert revision.text == f"{REVISED}\n\n"
    server.script = lambda number, request: server.completion(DRAFT)
    (revision,) = await runner.revise(make_rows(1, draft=f" {DRAFT}\n"))
    assert revision.status is RevisionStatus.UNCHANGED


async def test_a_structured_answer_is_asked_for_and_read(server, runner: Runner):
    body = json.dumps({"revised_response": REVISED})
    server.script = lambda *_: server.completion(body)
    (revision,) = await runner.revise(make_rows(1))
    assert revision.text == REVISED
    assert server.received[0].body["response_format"]["type"] == "json_schema"


async def test_an_answer_that_stays_cut_is_rejected_with_the_setting_to_raise(server, runner: Runner):
    server.script = lambda *_: server.completion(REVISED[:30], None)
    (revision,) = await runner.revise(make_rows(1))
    assert revision.status is RevisionStatus.REJECTED
    assert "revision.max_tokens" in str(revision.reason)
    assert len(server.received) == 2


async def test_a_server_without_finish_reasons_works(server, runner: Runner):
    server.script = lambda *_: server.completion(REVISED, None, usage=None)
    revisions = await runner.revise(make_rows(3))
    assert {(r.status, r.text, r.attempts) for r in revisions} == {(RevisionStatus.SUCCEEDED, REVISED, 1)}


async def test_an_unknown_finish_reason_is_named_and_asked_about_again(server, runner: Runner):
    server.script = lambda *_: server.completion(REVISED, "tool_calls")
    (revision,) = await runner.revise(make_rows(1))
    assert revision.status is RevisionStatus.REJECTED
    assert "'tool_calls'" in str(revision.reason)
    assert len(server.received) == 2


async def test_an_answer_of_thoughts_only_is_rejected_with_that_reason(server, runner: Runner):
    message = {"role": "assistant", "content": None, "reasoning_content": "The lamp is red."}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    server.script = lambda *_: server.json(body)
    (revision,) = await runner.revise(make_rows(1))
    assert revision.status is RevisionStatus.REJECTED
    assert "thoughts (reasoning_content)" in str(revision.reason)


async def test_a_text_with_half_a_character_is_asked_for_once(server, runner: Runner):
    server.script = lambda *_: server.completion(f"{REVISED} \ud83d")
    (revision,) = await runner.revise(make_rows(1))
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, REVISED, 1)


@pytest.mark.parametrize(
    "around",
    [
        "<think>\nFew edits.\n</think>\n\n{}",
        "Few edits.\n</think>\n\n{}",
        '```json\n{{"revised_response": "{}"}}\n```',
    ],
)
async def test_thoughts_and_fences_are_not_part_of_the_revision(server, runner: Runner, around):
    server.script = lambda *_: server.completion(around.format(REVISED))
    (revision,) = await runner.revise(make_rows(1))
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, REVISED, 1)


async def test_a_wrapped_revision_is_asked_for_again_with_the_wrapping(server, runner: Runner):
    server.in_turn(server.completion(f"Hier ist die korrigierte Antwort:\n\n{REVISED}"))
    (revision,) = await runner.revise(make_rows(1))
    assert (revision.status, revision.text, revision.attempts) == (RevisionStatus.SUCCEEDED, REVISED, 2)
    assert "Hier ist die korrigierte Antwort" in server.received[1].body["messages"][-1]["content"]

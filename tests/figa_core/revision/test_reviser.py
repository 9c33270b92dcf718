"""Whole revisions: what of an answer is the revision, and what is asked about again."""

import json
from collections.abc import Callable

import pytest

from figa_core.ports import RevisionRequest
from figa_core.records import RevisionStatus
from tests.figa_core.llm.runs import Runner

Rows = Callable[..., list[RevisionRequest]]


async def test_white_space_at_the_ends_is_no_edit(server, runner: Runner, make_rows: Rows, draft, revised):
    (revision,) = await runner.revise(make_rows(1, draft=f"{draft}\n\n"))
    assert revision.text == f"{revised}\n\n"
    server.script = lambda number, request: server.completion(draft)
    (revision,) = await runner.revise(make_rows(1, draft=f" {draft}\n"))
    assert revision.status is RevisionStatus.UNCHANGED


async def test_a_structured_answer_is_asked_for_and_read(server, runner: Runner, make_rows: Rows, revised):
    body = json.dumps({"revised_response": revised})
    server.script = lambda *_: server.completion(body)
    (revision,) = await runner.revise(make_rows(1))
    assert revision.text == revised
    assert server.received[0].body["response_format"]["type"] == "json_schema"


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

"""Bodies of 200 responses that are errors, or no completions."""

import json
from typing import Any

import pytest

from figa_core.llm.calls import CallOutcome
from figa_core.llm.replies import read_completion
from tests.figa_core.llm.test_replies import TEXT, USAGE, body, delta, stream


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ({"error": {"message": "no credits", "code": 402}}, CallOutcome.NO_QUOTA),
        ({"error": {"message": "slow down", "code": 429}}, CallOutcome.RATE_LIMITED),
        ({"error": {"message": "slow down", "code": "429"}}, CallOutcome.RATE_LIMITED),
        ({"error": {"message": "bad key", "code": 401}}, CallOutcome.BAD_KEY),
        ({"error": {"message": "upstream", "code": 502}, "choices": []}, CallOutcome.SERVER_ERROR),
        ({"error": "it broke"}, CallOutcome.SERVER_ERROR),
        ({"error": {"message": "it broke", "code": 200}}, CallOutcome.SERVER_ERROR),
        ({"error": {"message": "odd", "code": 400}}, CallOutcome.BAD_REQUEST),
        ({"error": {"message": "odd", "code": 399}}, CallOutcome.SERVER_ERROR),
        ({"error": {"message": "odd", "code": "4.0", "status": [400]}}, CallOutcome.SERVER_ERROR),
        ({"error": {"message": "odd", "code": None, "deep": [{"http_code": 422}]}}, CallOutcome.BAD_REQUEST),
        ({"error": {"message": "odd", "code": "odd", "status_code": 404}}, CallOutcome.WRONG_ADDRESS),
        ({"error": {"code": "insufficient_quota", "message": "pay"}}, CallOutcome.NO_QUOTA),
        ({"object": "error", "message": "bad key", "code": 401}, CallOutcome.BAD_KEY),
        ({"error": {"message": "late"}, "choices": [{"code": 429, "message": {}}]}, CallOutcome.SERVER_ERROR),
        ({"status": 429, "detail": "slow down"}, CallOutcome.RATE_LIMITED),
        ({"success": False, "errors": [{"message": "bad key", "code": 401}]}, CallOutcome.BAD_KEY),
        ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "x"}}, CallOutcome.SERVER_ERROR),
        ([{"error": {"message": "slow down", "code": 429}}], CallOutcome.RATE_LIMITED),
        (
            {"choices": [{"error": {"message": "slow", "code": 429}, "message": {"content": TEXT}}]},
            CallOutcome.RATE_LIMITED,
        ),
        (
            {
                "choices": [
                    {
                        "error": {"message": "died", "code": 502},
                        "finish_reason": "error",
                        "message": {"content": TEXT},
                    }
                ]
            },
            CallOutcome.SERVER_ERROR,
        ),
        (
            {
                "error": {"message": "late", "code": 503},
                "choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}],
            },
            CallOutcome.SERVER_ERROR,
        ),
    ],
)
def test_an_error_with_status_200_is_read_as_an_error(error: Any, outcome: CallOutcome):
    reply = read_completion(json.dumps(error).encode())
    assert (reply.outcome, reply.text) == (outcome, None)


def test_an_error_within_a_choice_keeps_the_tokens_that_were_counted():
    error = {"error": {"message": "slow down", "code": 429}}
    for choice in (error, {"message": {"content": TEXT, **error}}):
        data = {"choices": [{"message": {"content": TEXT}, **choice}], "usage": USAGE}
        reply = read_completion(json.dumps(data).encode())
        assert (reply.outcome, reply.used_tokens) == (CallOutcome.RATE_LIMITED, 70)


@pytest.mark.parametrize(("code", "status"), [(400, 400), (599, 599), (399, 500), (600, 500), ("503", 503)])
def test_an_error_has_the_status_that_it_names(code: int | str, status: int):
    reply = read_completion(json.dumps({"error": {"message": "odd", "code": code}}).encode())
    assert (reply.status, reply.message) == (status, f"HTTP {status}: odd")


def test_an_error_in_a_stream_is_read_as_an_error():
    data = stream(delta("Hello"), {"error": {"message": "slow down", "code": 429}})
    assert read_completion(data).outcome is CallOutcome.RATE_LIMITED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"<html>sign in</html>", "base_url"),
        (b"<!DOCTYPE html><p>", "base_url"),
        (b'{"choices": [{"mess', "bytes"),
        (b"7", "a JSON int"),
        (b"null", "a JSON NoneType"),
        (b"{}", "no choices"),
        (json.dumps({"type": "message", "content": [{"type": "text", "text": TEXT}]}).encode(), "no choices"),
        (json.dumps({"choices": {"message": {"content": TEXT}}}).encode(), "not a chat completion"),
        (json.dumps({"choices": [{"message": 7}]}).encode(), "not a chat completion"),
        (json.dumps({"choices": [{"finish_reason": "stop"}]}).encode(), "not a chat completion"),
        (body(7), "not a chat completion"),
        (stream(delta("Hel"), delta("lo"), done=False), "breaks off"),
        (b'data: {"choices": [', "bytes"),
        (b"[" * 100_000, "bytes"),
        (body() + body(), "bytes"),
    ],
)
def test_a_body_that_is_no_completion_is_malformed_with_the_reason(data: bytes, reason: str):
    reply = read_completion(data)
    assert reply.outcome is CallOutcome.MALFORMED
    assert reason in str(reply.message)
    assert len(str(reply.message)) <= 500


def test_the_beginning_of_a_body_without_an_answer_is_shown():
    reply = read_completion(json.dumps({"id": "x" * 100}).encode())
    assert reply.message == f"""the body has no choices: '{{"id": "{"x" * 72}'"""


def test_an_empty_list_of_choices_is_no_answer_and_keeps_its_tokens():
    reply = read_completion(json.dumps({"choices": [], "usage": USAGE}).encode())
    assert (reply.outcome, reply.used_tokens) == (CallOutcome.EMPTY_CHOICES, 70)

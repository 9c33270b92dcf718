"""The meaning of providers' errors."""

import email.utils
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.llm.calls import CallOutcome
from figa_core.llm.refusals import read_error
from tests.figa_core.llm import provider_errors as errors
from tests.figa_core.llm.setting_errors import SETTINGS

C = CallOutcome


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (*case, outcome)
        for cases, outcome in (
            (errors.ACCOUNT_EMPTY, C.NO_QUOTA),
            (errors.KEY_WRONG, C.BAD_KEY),
            (errors.NOT_ALLOWED, C.NO_ACCESS),
            (errors.MODEL_UNKNOWN, C.UNKNOWN_MODEL),
            (errors.WRONG_PLACE, C.WRONG_ADDRESS),
            (errors.FLAGGED, C.REFUSED),
            (errors.TOO_LONG, C.CONTEXT_TOO_LONG),
            (errors.TOO_FAST, C.RATE_LIMITED),
            (errors.PASSING, C.SERVER_ERROR),
            (errors.UNRECOGNISED, C.BAD_REQUEST),
        )
        for case in cases
    ],
)
def test_providers_errors_are_recognised_by_their_words_and_codes(
    status: int, body: Any, outcome: CallOutcome
):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = read_error(status, data, {}, now=0.0)
    assert (reply.outcome, reply.status) == (outcome, status), reply.message


@pytest.mark.parametrize(
    ("status", "body", "setting", "value_refused"),
    SETTINGS,
)
def test_a_refused_setting_is_named_and_a_refused_value_recognised(
    status: int, body: Any, setting: str, value_refused: bool
):
    reply = read_error(status, json.dumps(body).encode(), {}, now=0.0)
    assert (reply.outcome, reply.setting, reply.value_refused) == (
        C.UNSUPPORTED_SETTING,
        setting,
        value_refused,
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (errors.openai("why"), "why"),
        (errors.google(400, "why", "X"), "why"),
        ({"detail": [errors.PYDANTIC]}, "Extra inputs are not permitted (body.response_format)"),
        ({"base_resp": {"status_code": 1008, "status_msg": "why"}}, "why"),
        ({"error": "invalid_grant", "error_description": "why"}, "why"),
        ("plain words", "plain words"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"message": "why"}'}}},
         "Provider returned error (why)"),
        ({"message": '{"error": {"message": "why"}}'}, "why"),
        ({}, "{}"),
    ],
)  # fmt: skip
def test_the_message_is_the_one_for_people(body: Any, message: str):
    assert read_error(418, json.dumps(body).encode(), {}, now=0.0).message == f"HTTP 418: {message}"


def test_a_page_of_html_is_reported_by_its_title():
    assert read_error(524, errors.CLOUDFLARE, {}, now=0.0).message == (
        "HTTP 524: a page of HTML: Attention Required! | Cloudflare"
    )


@pytest.mark.parametrize("status", [429, 503, 529, 500])
def test_a_wait_is_read_with_any_status(status: int):
    assert read_error(status, b"", {"retry-after": "12"}, now=0.0).retry_after_s == 12
    date = email.utils.formatdate(1_000_030, usegmt=True)
    assert read_error(status, b"", {"retry-after": date}, now=1_000_000.0).retry_after_s == 30


def test_a_wait_in_the_body_counts_like_one_in_the_header():
    body = json.dumps({"error": {"message": "x", "details": [{"retryDelay": "7.5s"}]}}).encode()
    assert read_error(429, body, {}, now=0.0).retry_after_s == 7.5
    assert read_error(429, body, {"retry-after": "3"}, now=0.0).retry_after_s == 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["message", "error", "detail", "loc", "param", "metadata", "raw", "errors", "code"]
            ),
            inner,
        )
    ),
)


@given(json_values, st.sampled_from([302, 400, 403, 404, 429, 500]))
def test_any_body_can_be_read(body: object, status: int):
    assert read_error(status, json.dumps(body).encode(), {}, now=0.0).message


@given(st.binary(max_size=80))
def test_any_bytes_can_be_read(body: bytes):
    read_error(500, body, {}, now=0.0)


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (401, {}, CallOutcome.BAD_KEY),
        (402, {}, CallOutcome.NO_QUOTA),
        (403, {"code": "content_filter"}, CallOutcome.REFUSED),
        (404, {}, CallOutcome.WRONG_ADDRESS),
        (400, {"code": "model_not_found"}, CallOutcome.UNKNOWN_MODEL),
        (408, {}, CallOutcome.SERVER_ERROR),
        (413, {}, CallOutcome.CONTEXT_TOO_LONG),
        (422, {}, CallOutcome.BAD_REQUEST),
        (429, {}, CallOutcome.RATE_LIMITED),
        (429, {"type": "insufficient_quota"}, CallOutcome.NO_QUOTA),
        (400, {"param": "temperature"}, CallOutcome.UNSUPPORTED_SETTING),
        (
            400,
            {"param": "max_tokens", "message": "maximum context length is 512"},
            CallOutcome.CONTEXT_TOO_LONG,
        ),
        (529, {}, CallOutcome.SERVER_ERROR),
    ],
)
def test_each_kind_of_error_is_recognised(status: int, error: dict[str, str], outcome: CallOutcome):
    assert read_error(status, json.dumps({"error": error}).encode(), {}, now=0.0).outcome is outcome


def test_the_message_quotes_the_endpoint_up_to_a_length():
    assert read_error(500, b'{"error": {"message": "why"}}', {}, now=0.0).message == "HTTP 500: why"
    assert read_error(500, b"plain words", {}, now=0.0).message == "HTTP 500: plain words"
    assert len(str(read_error(500, b"x" * 100_000, {}, now=0.0).message)) <= 500


@pytest.mark.parametrize(
    ("status", "message", "setting"),
    [
        (400, "invalid temperature: only 1 is allowed for this model", "temperature"),
        (400, "gpt-5 models don't support temperature=0.0. Only temperature=1 is supported.", "temperature"),
        (422, "Tool error: grammar is not supported", "response_format"),
        (500, "failed to parse grammar", "response_format"),
        (400, "Failed to generate JSON. Please adjust your prompt.", "response_format"),
        (404, "No endpoints found that can handle the requested parameters.", "response_format"),
    ],
)
def test_a_field_is_found_in_the_words_of_other_servers(status: int, message: str, setting: str):
    reply = read_error(status, json.dumps({"error": {"message": message}}).encode(), {}, now=0.0)
    assert (reply.outcome, reply.setting) == (CallOutcome.UNSUPPORTED_SETTING, setting)
    assert not reply.value_refused or setting == "response_format"


def test_the_budget_of_a_proxy_is_not_a_rate_limit():
    body = json.dumps({"error": {"message": "ExceededBudget: over", "type": "budget_exceeded"}}).encode()
    assert read_error(429, body, {}, now=0.0).outcome is CallOutcome.NO_QUOTA


def test_a_quota_that_is_free_again_in_seconds_is_a_limit_of_the_rate():
    words = "You exceeded your current quota, please check your plan and billing details."
    body = json.dumps({"error": {"code": 429, "message": f"{words} Please retry in 34.5s."}}).encode()
    reply = read_error(429, body, {}, now=0.0)
    assert (reply.outcome, reply.retry_after_s) == (C.RATE_LIMITED, 34.5)
    assert read_error(429, body, {"retry-after": "2"}, now=0.0).retry_after_s == 2.0
    assert read_error(429, body.replace(b" Please retry in 34.5s.", b""), {}, now=0.0).outcome is C.NO_QUOTA

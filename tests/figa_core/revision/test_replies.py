"""What bytes and statuses mean."""

import email.utils
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.revision.calls import CallOutcome
from figa_core.revision.refusals import read_error
from figa_core.revision.replies import read_completion
from figa_core.revision.retry_after import retry_after_s

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["choices", "message", "content", "error", "usage", "code"]), inner)
    ),
)


@given(json_values)
def test_no_body_makes_the_reader_fail(body: object):
    data = json.dumps(body).encode()
    read_completion(data)
    for status in (400, 404, 429, 500):
        read_error(status, data, {}, now=0.0)


@given(st.binary(max_size=50))
def test_no_bytes_make_the_reader_fail(body: bytes):
    read_completion(body)
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
def test_each_kind_of_error_is_told_from_the_others(status: int, error: dict[str, str], outcome: CallOutcome):
    assert read_error(status, json.dumps({"error": error}).encode(), {}, now=0.0).outcome is outcome


def test_the_message_is_the_endpoints_own_and_not_endless():
    assert read_error(500, b'{"error": {"message": "why"}}', {}, now=0.0).message == "HTTP 500: why"
    assert read_error(500, b"plain words", {}, now=0.0).message == "HTTP 500: plain words"
    assert len(str(read_error(500, b"x" * 100_000, {}, now=0.0).message)) <= 500


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": email.utils.formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": email.utils.formatdate(999_000, usegmt=True)}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "86401"}, None),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
    ],
)
def test_the_wait_that_headers_ask_for(headers: dict[str, str], seconds: float | None):
    assert retry_after_s(headers, now=1_000_000.0) == seconds

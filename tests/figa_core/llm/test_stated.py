"""The limits and the wait in response headers."""

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.llm.stated import StatedLimit, StatedLimits, read_limits, retry_after_s, seconds, wait_in_words

HEADERS = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-remaining-tokens": "199950",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-reset-tokens": "6m0s",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("20ms", 0.02),
        ("59.93s", 59.93),
        ("1h2m3.5s", 3723.5),
        ("1d", 86_400),
        ("1m20ms", 60.02),
        ("60", 60),
        ("0.25", 0.25),
        ("0s", 0),
        ("0", 0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1s1m", None),
    ],
)
def test_durations_are_read_as_providers_write_them(text: str, expected: float | None):
    assert seconds(text) == (expected if expected is None else pytest.approx(expected))


@given(st.text(max_size=12))
def test_any_text_can_be_read(text: str):
    value = seconds(text)
    assert value is None or value >= 0
    read_limits(dict.fromkeys(HEADERS, text))


def test_both_limits_are_read():
    expected = StatedLimits(StatedLimit(500, 499, 0.12), StatedLimit(200_000, 199_950, 360))
    assert read_limits(HEADERS) == expected


def test_missing_or_malformed_limits_are_left_out():
    assert read_limits({}) is None
    assert read_limits({"x-ratelimit-limit-requests": "many"}) is None
    stated = read_limits({"x-ratelimit-remaining-requests": "7", "x-ratelimit-limit-requests": "0"})
    assert stated == StatedLimits(StatedLimit(None, 7, None), StatedLimit())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "86400"}, 86_400.0),
        ({"retry-after-ms": "inf", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": email.utils.formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": email.utils.formatdate(999_000, usegmt=True)}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "30s"}, 30.0),
        ({"retry-after": "1m30s"}, 90.0),
        ({"retry-after": "86401"}, None),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
    ],
)
def test_the_wait_is_read_from_the_headers(headers: dict[str, str], seconds: float | None):
    assert retry_after_s(headers, now=1_000_000.0) == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Limit 200, Used 200. Please try again in 7m12s. Visit our page.", 432),
        ("Please try again in 120ms.", 0.12),
        ("please retry in 34.074824224s", 34.074824224),
        ("Please retry after 20 seconds.", 20),
        ("Retry after: 1 minute", 60),
        ("wait for at least 1.5 mins", 90),
        ("Try again in 1h2m3s", 3723),
        ("try again in 30h", None),
        ("try again later", None),
        ("retry in a few seconds", None),
        ("wait 5", None),
        ("in 20s", None),
        ("", None),
    ],
)
def test_the_wait_is_read_from_a_message(text: str, expected: float | None):
    assert wait_in_words(text) == expected

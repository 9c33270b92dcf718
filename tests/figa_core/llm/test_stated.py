"""What headers state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.llm.refusals import read_error
from figa_core.llm.replies import read_completion
from figa_core.llm.stated import StatedLimit, StatedLimits, read_limits, seconds

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
def test_no_text_makes_the_reader_fail(text: str):
    value = seconds(text)
    assert value is None or value >= 0
    read_limits(dict.fromkeys(HEADERS, text))


def test_both_limits_are_read_from_answers_and_from_errors():
    expected = StatedLimits(StatedLimit(500, 499, 0.12), StatedLimit(200_000, 199_950, 360))
    assert read_limits(HEADERS) == expected
    assert read_completion(b'{"choices": []}', HEADERS).limits == expected
    assert read_error(429, b"", HEADERS, now=0.0).limits == expected


def test_what_is_missing_or_senseless_is_left_out():
    assert read_limits({}) is None
    assert read_limits({"x-ratelimit-limit-requests": "many"}) is None
    assert read_completion(b"").limits is None
    stated = read_limits({"x-ratelimit-remaining-requests": "7", "x-ratelimit-limit-requests": "0"})
    assert stated == StatedLimits(StatedLimit(None, 7, None), StatedLimit())

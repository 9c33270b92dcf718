"""When an endpoint is given up."""

import pytest

from figa_core.errors import LLMError
from figa_core.llm.calls import CallOutcome
from figa_core.llm.health import EndpointHealth, Patience
from figa_core.llm.reply import Reply

URL = "http://server/v1"
ANSWERED = Reply(CallOutcome.ANSWERED, text="x")
FAILED = Reply(CallOutcome.CONNECTION_FAILED, "refused")
LOST = Reply(CallOutcome.CONNECTION_LOST, "reset")


def health(**patience: float) -> EndpointHealth:
    return EndpointHealth(URL, Patience(**patience), "revision")  # type: ignore[arg-type]


def test_connections_broken_together_are_one_failure():
    endpoint = health(connection_failures=3)
    endpoint.note(ANSWERED, sent_at=0.0, now=1.0)
    pauses = [endpoint.note(FAILED, sent_at=1.0, now=2.0) for _ in range(64)]
    assert pauses == [0.1] + [0.0] * 63
    assert endpoint.note(FAILED, sent_at=3.0, now=4.0) == 0.2
    with pytest.raises(LLMError, match=URL):
        endpoint.note(FAILED, sent_at=5.0, now=6.0)


def test_before_the_first_answer_every_failed_connection_counts():
    endpoint = health(connection_failures=3)
    endpoint.note(FAILED, sent_at=0.0, now=1.0)
    endpoint.note(FAILED, sent_at=0.0, now=1.0)
    with pytest.raises(LLMError, match="stay pending"):
        endpoint.note(FAILED, sent_at=0.0, now=1.0)


def test_an_answer_resets_the_counts():
    endpoint = health(connection_failures=2, useless_calls=2)
    for second in range(20):
        endpoint.note((FAILED, LOST)[second % 2], sent_at=second + 0.1, now=second + 0.2)
        endpoint.note(ANSWERED, sent_at=second + 0.3, now=second + 0.4)


def test_too_many_calls_without_a_usable_answer_end_the_run():
    endpoint = health(useless_calls=3)
    endpoint.note(LOST, sent_at=1.0, now=1.5)
    endpoint.note(LOST, sent_at=1.0, now=1.6)
    endpoint.note(LOST, sent_at=2.0, now=2.5)
    with pytest.raises(LLMError, match="3 calls in a row"):
        endpoint.note(LOST, sent_at=3.0, now=3.5)


def test_a_429_is_tolerated_while_other_calls_are_answered():
    endpoint = health(rate_limited_s=100)
    limited = Reply(CallOutcome.RATE_LIMITED, "slow down")
    for minute in range(10):
        endpoint.note(limited, sent_at=0.0, now=60.0 * minute, pause_s=50)
        endpoint.note(ANSWERED, sent_at=0.0, now=60.0 * minute + 1)
    endpoint.note(limited, sent_at=0.0, now=1000.0, pause_s=50)
    with pytest.raises(LLMError, match="requests_per_minute"):
        endpoint.note(limited, sent_at=0.0, now=1060.0, pause_s=50)


def test_only_a_completion_shows_that_an_endpoint_works():
    endpoint = health()
    for outcome in (CallOutcome.BAD_REQUEST, CallOutcome.SERVER_ERROR, CallOutcome.CONTEXT_TOO_LONG):
        endpoint.note(Reply(outcome, "no", status=400), sent_at=1.0, now=2.0)
    endpoint.note(Reply(CallOutcome.REFUSED, "flagged", status=403), sent_at=1.0, now=2.0)
    assert not endpoint.served
    endpoint.note(Reply(CallOutcome.REFUSED, "I will not"), sent_at=3.0, now=4.0)
    assert endpoint.served
    assert endpoint.served_since(2.9)
    assert not endpoint.served_since(3.0)


def test_a_busy_server_is_reported_differently_from_a_rate_limit():
    endpoint = health(rate_limited_s=100)
    busy = Reply(CallOutcome.SERVER_ERROR, "HTTP 503: loading", status=503, retry_after_s=60)
    endpoint.note(busy, sent_at=0.0, now=0.0, pause_s=60)
    with pytest.raises(LLMError, match=r"loading.*Wait until the server is back") as caught:
        endpoint.note(busy, sent_at=60.0, now=60.0, pause_s=60)
    assert "requests_per_minute" not in str(caught.value)

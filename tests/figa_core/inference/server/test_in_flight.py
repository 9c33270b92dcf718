"""How many requests a server gets at once."""

from figa_core.inference.server.in_flight import FIRST, WAITING_MOST, InFlight


def test_an_empty_queue_doubles_the_limit_up_to_the_most() -> None:
    limit = InFlight(100)
    for expected in (64, 100, 100):
        limit.observed(waiting=0, in_flight=limit.limit)
        assert limit.limit == expected


def test_a_server_that_is_not_full_says_nothing_about_its_limit() -> None:
    limit = InFlight(100)
    limit.observed(waiting=0, in_flight=FIRST - 1)
    assert limit.limit == FIRST


def test_a_short_queue_keeps_the_limit() -> None:
    limit = InFlight(100)
    limit.observed(waiting=WAITING_MOST, in_flight=FIRST)
    assert limit.limit == FIRST


def test_a_long_queue_lowers_the_limit_to_what_the_server_works_at_and_a_short_queue() -> None:
    limit = InFlight(1000)
    for _ in range(5):
        limit.observed(waiting=0, in_flight=limit.limit)
    assert limit.limit == 1000
    limit.observed(waiting=900, in_flight=1000)
    assert limit.limit == 100 + WAITING_MOST
    limit.observed(waiting=10_000, in_flight=116)
    assert limit.limit == 1


def test_a_server_without_metrics_gets_the_most() -> None:
    limit = InFlight(100)
    limit.observed(waiting=None, in_flight=3)
    assert limit.limit == 100
    assert InFlight(5).limit == 5

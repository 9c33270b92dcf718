"""How 429s and stated limits change the rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.llm.pace import HOLD_MAX_S, Pace
from figa_core.llm.stated import StatedLimit

stated_limits = st.builds(
    StatedLimit,
    st.none() | st.floats(0.1, 1e7),
    st.none() | st.floats(0, 1e7),
    st.none() | st.floats(0, 1e6),
)


def stated_half() -> Pace:
    """A pace of 1 200 a minute to which 600 were stated."""
    pace = Pace(1200)
    pace.note(StatedLimit(600, 300, 60), 0.0)
    return pace


def test_a_429_lowers_the_rate_and_time_brings_it_back():
    pace = Pace(600)
    pace.throttle(10.0, 15.0)
    assert pace.share(15.0) == pytest.approx(0.7)
    assert pace.share(15.0 + 18) == pytest.approx(0.85)
    assert pace.share(60.0) == 1.0


def test_a_lower_stated_limit_is_obeyed_before_any_429():
    assert stated_half().share(0.0) == pytest.approx(0.5)


def test_a_429_does_not_push_the_rate_below_the_stated_limit_but_a_second_one_soon_does():
    pace = stated_half()
    pace.throttle(1.0, 1.0)
    assert pace.share(1.0) == pytest.approx(0.5, rel=0.01)
    pace.throttle(5.0, 5.0)
    assert pace.share(5.0) == pytest.approx(0.35, rel=0.01)


def test_recovery_is_quick_up_to_the_stated_limit_and_slow_above_it():
    pace = stated_half()
    pace.throttle(1.0, 1.0)
    pace.throttle(2.0, 2.0)
    assert pace.share(22.0) == pytest.approx(0.5, rel=0.04)
    assert 0.5 < pace.share(82.0) < 0.53


def test_there_is_no_recovery_above_a_stated_limit_that_is_nearly_used_up():
    pace = stated_half()
    assert pace.share(60.0) > 0.51
    pace.note(StatedLimit(600, 9, 60), 60.0)
    assert pace.share(60.0) == pace.share(300.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "stated",
    [
        StatedLimit(6000, 10, 60),  # higher than the configured limit
        StatedLimit(10, 3, 0.8),  # ten a second, not a minute
        StatedLimit(1000, 900, 40_000),  # a daily quota is not a rate
    ],
)
def test_a_limit_that_is_not_a_lower_rate_changes_nothing(stated: StatedLimit):
    pace = Pace(600)
    pace.note(stated, 0.0)
    assert pace.share(0.0) == 1.0
    pace.throttle(1.0, 1.0)
    assert pace.share(1.0) == pytest.approx(0.7)


def test_the_length_of_a_window_becomes_known_over_time():
    """A bucket that is nearly full states a short reset: until it empties the rate is not lowered."""
    pace = Pace(1200)
    pace.note(StatedLimit(600, 599, 0.1), 0.0)
    assert pace.share(0.0) == 1.0
    pace.note(StatedLimit(600, 200, 40), 30.0)
    assert pace.share(30.0) == pytest.approx(0.75)
    pace.note(StatedLimit(600, 30, 57), 50.0)
    assert pace.share(50.0) == pytest.approx(0.5 * 60 / 57)


def test_without_a_reset_a_stated_limit_only_keeps_a_429_from_lowering_the_rate_too_far():
    pace = Pace(600)
    pace.note(StatedLimit(500, 400), 0.0)
    assert pace.share(0.0) == 1.0
    pace.throttle(0.0, 0.0)
    assert pace.share(0.0) == pytest.approx(500 / 600)
    assert pace.share(60.0) == 1.0


def test_if_nothing_is_left_calls_wait_for_the_end_of_a_fixed_window():
    pace = Pace(600)
    pace.note(StatedLimit(600, 400, 60), 0.0)
    stated = StatedLimit(600, 0, 20)
    pace.note(stated, 40.0)
    assert pace.hold_s(stated, 1, sent_at=39.9, now=40.0) == 20
    assert pace.hold_s(stated, 1, sent_at=45.0, now=45.0) == 0  # sent before the hold ended


def test_a_short_hold_is_enough_if_places_become_free_one_by_one():
    pace = Pace(600)
    stated = StatedLimit(600, 0, 60)
    pace.note(stated, 0.0)
    assert pace.hold_s(stated, 1, sent_at=0.0, now=0.0) == pytest.approx(1.2)


def test_calls_wait_until_enough_tokens_are_left_for_the_next_one():
    pace = Pace(60_000)
    stated = StatedLimit(60_000, 3000, 60)
    pace.note(stated, 0.0)
    assert pace.hold_s(stated, 3000, sent_at=0.0, now=0.0) == 0
    assert pace.hold_s(stated, 6000, sent_at=0.0, now=0.0) == pytest.approx(6)
    assert pace.hold_s(stated, 1e9, sent_at=99.0, now=99.0) <= HOLD_MAX_S


def test_a_provider_that_always_states_nothing_left_does_not_starve_the_run():
    pace = Pace(600)
    stated = StatedLimit(1000, 0, 80_000)
    now, held = 0.0, 0.0
    for _ in range(100):
        pace.note(stated, now)
        hold = pace.hold_s(stated, 1, sent_at=now, now=now)
        held += hold
        now += hold + 0.1
    assert held <= 2.01 * HOLD_MAX_S + 1e-6
    assert pace.share(now) == 1.0


@given(st.lists(st.tuples(stated_limits, st.floats(0, 100), st.booleans()), max_size=30))
def test_the_share_stays_between_0_and_1_and_holds_are_bounded(
    events: list[tuple[StatedLimit, float, bool]],
):
    pace, now = Pace(600), 0.0
    for stated, gap, throttled in events:
        now += gap
        pace.note(stated, now)
        assert 0 <= pace.hold_s(stated, 1, sent_at=now, now=now) <= HOLD_MAX_S
        if throttled:
            pace.throttle(now, now + gap)
        assert 0 < pace.share(now) <= 1
        assert pace.share(now) <= pace.share(now + 50) <= 1


def test_after_any_number_of_429s_a_fiftieth_of_the_rate_remains():
    pace = Pace(600)
    for second in range(200):
        pace.throttle(float(second), float(second))
    assert pace.share(199.0) == pytest.approx(0.02)

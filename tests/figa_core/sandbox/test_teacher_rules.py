import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from figa_core.sandbox.teacher_protocol import duration
from figa_core.sandbox.teacher_rules import (
    FaultPlan,
    SlidingWindow,
    TeacherFault,
    admit,
    answer,
    section,
)


@example([(0.25, 1), (0.0, 1), (5.0, 49), (5.0, 50)])  # 1.025 - 1 is less than 0.025
@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=60))
def test_no_window_exceeds_the_limits(arrivals):
    window = SlidingWindow(requests_per_minute=300, tokens_per_minute=6000, window_s=1.0)
    admitted: list[tuple[float, int]] = []
    now = 0.0
    for gap, tokens in arrivals:
        now += gap / 10
        if admit([window], now, tokens) == 0:
            admitted.append((now, tokens))
        inside = [size for arrived, size in admitted if arrived + 1.0 > now]
        assert len(inside) <= 5
        assert sum(inside) <= 100


@given(st.lists(st.integers(1, 120), min_size=1, max_size=40))
def test_a_request_is_admitted_after_the_announced_wait(sizes):
    window = SlidingWindow(requests_per_minute=300, tokens_per_minute=6000, window_s=1.0)
    now = 0.0
    for tokens in sizes:
        wait_s = admit([window], now, tokens)
        if wait_s:
            now += wait_s + 1e-6
            assert admit([window], now, tokens) == 0


def test_a_request_larger_than_the_token_limit_is_admitted_alone():
    window = SlidingWindow(requests_per_minute=600, tokens_per_minute=60, window_s=60)
    assert admit([window], 0.0, 500) == 0
    assert admit([window], 1.0, 1) == pytest.approx(59.0)


def test_a_request_needs_room_in_every_window_and_counts_in_all_or_none():
    minute, second = SlidingWindow(4, 1e9, 60), SlidingWindow(120, 1e9, 1)
    waits = [round(admit([minute, second], at, 1), 3) for at in (0, 0.25, 0.5, 1.1, 1.3, 2.5)]
    assert waits == [0, 0, 0.5, 0, 0, 57.5]
    requests_left, _, reset_s = minute.left(3.0)
    assert (requests_left, reset_s) == (0, pytest.approx(58.3))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0194, "20ms"), (1, "1s"), (59.93, "59.93s"), (60, "1m0s"), (360.5, "6m0.5s")],
)
def test_durations_have_openais_format(seconds, text):
    assert duration(seconds) == text


def test_faults_occur_at_their_shares_and_depend_on_the_seed():
    shares = {TeacherFault.SERVER_ERROR: 0.1, TeacherFault.RESET: 0.2}
    drawn = [FaultPlan(shares, seed=0).draw(f"message {index}") for index in range(4000)]
    assert drawn.count(TeacherFault.SERVER_ERROR) / 4000 == pytest.approx(0.1, abs=0.02)
    assert drawn.count(TeacherFault.RESET) / 4000 == pytest.approx(0.2, abs=0.03)
    assert drawn == [FaultPlan(shares, seed=0).draw(f"message {index}") for index in range(4000)]
    assert drawn != [FaultPlan(shares, seed=1).draw(f"message {index}") for index in range(4000)]


def test_a_repeated_request_gets_a_new_draw():
    plan = FaultPlan({TeacherFault.RESET: 0.5}, seed=0)
    assert {plan.draw("same") for _ in range(50)} == {None, TeacherFault.RESET}


@pytest.mark.parametrize("shares", [{TeacherFault.RESET: 1.1}, {TeacherFault.RESET: -0.1}])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ValueError, match="shares"):
        FaultPlan(shares, seed=0)


def test_the_last_section_wins_and_loses_one_newline_at_each_end():
    assert section("<response>a</response> x <response>\n\n b \n\n</response>", "response") == "\n b \n"
    assert section("<response>broken", "response") is None
    assert section("no tags", "response") is None


def test_the_answer_corrects_the_draft_by_the_conversation():
    text = (
        "<conversation>\nuser: I am Anna. My red lamp is lost.\n</conversation>\n"
        "<response>\nDear Anna, your blue lamp is lost. Kind regards, your support team.\n</response>"
    )
    assert answer(text) == "Dear Anna, your red lamp is lost. Kind regards, your support team."


def _asked(number: int) -> str:
    return (
        "<conversation>\nuser: I am Anna. My red lamp is lost.\n</conversation>\n"
        f"<response>\nDear Anna, your blue lamp is lost. This is note {number}.\n</response>"
    )


def test_mistakes_are_of_the_same_drafts_each_time_and_their_share_holds():
    texts = [_asked(number) for number in range(400)]
    right = [answer(text) for text in texts]
    given = [answer(text, mistakes=0.2) for text in texts]
    assert given == [answer(text, mistakes=0.2) for text in texts]
    assert 50 < sum(one != other for one, other in zip(right, given, strict=True)) < 110
    assert given != [answer(text, mistakes=0.2, seed=1) for text in texts]
    assert [answer(text, mistakes=0.0) for text in texts] == right

"""A model is worse, better, not told apart or not judged: one rule on paired differences."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.errors import EvaluationError
from figa_core.evaluation.statistics import Estimate, estimate
from figa_core.evaluation.verdict import NOT_JUDGED, Outcome, Verdict, verdict

UP, DOWN, OPEN = estimate([1.0, 1.2, 0.9]), estimate([-1.0, -1.2, -0.9]), estimate([-1.0, 1.0, 0.1])
NONE, ONE = estimate([]), estimate([-5.0])


@pytest.mark.parametrize(
    ("differences", "outcome"),
    [
        ([], Outcome.NOT_JUDGED),
        ([-50.0], Outcome.NOT_JUDGED),
        ([-50.0, -50.1], Outcome.WORSE),  # t(0.975, 1) = 12.7: half width 0.64
        ([-50.0, -1.0], Outcome.NO_DIFFERENCE),  # half width 311
        ([50.0, 50.1], Outcome.BETTER),
        ([0.0, 0.0, 0.0], Outcome.NO_DIFFERENCE),  # equal values
        ([-0.25, -0.25, -0.25], Outcome.WORSE),  # identical differences have an interval without width
        ([0.25, 0.25], Outcome.BETTER),
        ([-1.0, 1.0], Outcome.NO_DIFFERENCE),
    ],
)
def test_the_interval_of_the_paired_difference_decides(differences: list[float], outcome: Outcome) -> None:
    assert verdict(estimate(differences), None).outcome is outcome
    assert verdict(None, estimate(differences)).outcome is outcome


def test_an_interval_that_ends_at_zero_shows_no_difference() -> None:
    half = 12.706204736  # t(0.975, 1)
    touching = Estimate(mean=-half, standard_error=1.0, n=2)
    assert touching.interval is not None
    assert touching.interval[1] == pytest.approx(0.0, abs=1e-8)
    assert verdict(Estimate(mean=-half - 1e-6, standard_error=1.0, n=2), None).outcome is Outcome.WORSE
    assert (
        verdict(Estimate(mean=-half + 1e-6, standard_error=1.0, n=2), None).outcome is Outcome.NO_DIFFERENCE
    )


def test_the_verifier_is_the_judge_if_there_is_one() -> None:
    assert verdict(DOWN, UP) == Verdict(Outcome.WORSE, "verifier", DOWN, over_optimised=True)
    assert verdict(UP, DOWN) == Verdict(Outcome.BETTER, "verifier", UP)
    assert verdict(OPEN, DOWN) == Verdict(Outcome.NO_DIFFERENCE, "verifier", OPEN)
    assert verdict(None, DOWN) == Verdict(Outcome.WORSE, "reward", DOWN)


def test_the_reward_does_not_stand_in_for_a_verifier_with_too_few_values() -> None:
    for few in (NONE, ONE):
        assert verdict(few, DOWN) == Verdict(Outcome.NOT_JUDGED, "verifier", few)


def test_over_optimised_needs_a_clear_rise_of_the_reward_and_a_clear_fall_of_the_verifier() -> None:
    assert verdict(DOWN, UP).over_optimised
    for judged, rewarded in ((DOWN, DOWN), (DOWN, OPEN), (DOWN, None), (OPEN, UP), (UP, UP), (None, UP)):
        assert not verdict(judged, rewarded).over_optimised


def test_without_any_score_nothing_is_judged() -> None:
    assert verdict(None, None) == NOT_JUDGED
    assert not NOT_JUDGED.do_not_use


def test_a_difference_between_equal_weights_is_chance() -> None:
    found = verdict(DOWN, UP, same_model=True)
    assert (found.outcome, found.same_model) == (Outcome.NO_DIFFERENCE, True)
    assert not found.do_not_use
    assert not found.over_optimised


@given(st.lists(st.floats(-1e6, 1e6), max_size=40))
def test_the_base_judged_against_the_model_gets_the_opposite_verdict(differences: list[float]) -> None:
    mirrored = {Outcome.WORSE: Outcome.BETTER, Outcome.BETTER: Outcome.WORSE}
    one = verdict(estimate(differences), None).outcome
    other = verdict(estimate([-value for value in differences]), None).outcome
    assert other is mirrored.get(one, one)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_an_error_and_never_a_verdict(broken: float) -> None:
    with pytest.raises(EvaluationError, match="finite"):
        verdict(estimate([0.1, broken, 0.2]), None)


def test_for_programs_it_is_plain_values() -> None:
    assert verdict(DOWN, UP).as_json() == {
        "verdict": "worse",
        "do_not_use": True,
        "judge": "verifier",
        "unit": "points of 100",
        "difference": pytest.approx(-1.0333, abs=1e-4),
        "interval_95": [pytest.approx(-1.4128, abs=1e-3), pytest.approx(-0.6539, abs=1e-3)],
        "prompts": 3,
        "over_optimised": True,
        "same_model": False,
    }
    assert NOT_JUDGED.as_json() == {
        "verdict": "not judged",
        "do_not_use": False,
        "judge": None,
        "unit": None,
        "difference": None,
        "interval_95": None,
        "prompts": 0,
        "over_optimised": False,
        "same_model": False,
    }

"""A sweep's rates follow the model's size, its held-out pairs their ids, its winner the yardstick."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.training.learning_rate import (
    Trial,
    Yardstick,
    best_rate,
    held_out_count,
    proposed_rate,
    rates_to_try,
    sweep_steps,
)

SIZES = st.integers(1, 10**12)


def test_the_papers_model_has_the_papers_rate_and_smaller_ones_have_higher_rates() -> None:
    assert proposed_rate(7_000_000_000) == 1e-5
    assert proposed_rate(135_000_000) == pytest.approx(4.9e-5)  # 1e-5 · 51.9 ** 0.404
    assert proposed_rate(1_100_000) == pytest.approx(3.4e-4)
    assert proposed_rate(70_000_000_000) == pytest.approx(3.9e-6)


def test_lora_gets_ten_times_the_rates() -> None:
    assert proposed_rate(135_000_000, lora=True) == pytest.approx(4.9e-4)
    usual, lora = rates_to_try(135_000_000), rates_to_try(135_000_000, lora=True)
    assert lora == pytest.approx([10 * rate for rate in usual])


@given(SIZES, SIZES)
def test_a_larger_model_never_has_a_higher_rate(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert proposed_rate(large) <= proposed_rate(small)


@given(SIZES)
def test_three_rising_rates_lie_about_a_factor_of_three_apart(parameters: int) -> None:
    low, centre, high = rates_to_try(parameters)
    assert 1e-6 <= centre == proposed_rate(parameters) <= 1e-3
    assert centre / low == pytest.approx(3, rel=0.05)
    assert high / centre == pytest.approx(3, rel=0.05)
    assert all(float(f"{rate:.1e}") == rate for rate in (low, centre, high)), "two digits"


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        proposed_rate(0)


@pytest.mark.parametrize(
    ("steps", "short"), [(1, 1), (3, 3), (4, 4), (31, 4), (41, 5), (240, 24), (1000, 100)]
)
def test_a_short_training_is_a_tenth_of_the_steps_and_at_least_four(steps: int, short: int) -> None:
    assert sweep_steps(steps) == short


@pytest.mark.parametrize(("pairs", "held_out"), [(20, 4), (59, 5), (400, 40), (5000, 256)])
def test_a_tenth_of_the_pairs_is_held_out_within_bounds(pairs: int, held_out: int) -> None:
    assert held_out_count(pairs) == held_out


def trial(rate: float, edited: float, unchanged: float) -> Trial:
    return Trial(rate, Yardstick(edited, unchanged))


def test_what_the_edits_gain_must_not_be_lost_at_the_unchanged_tokens() -> None:
    careful, greedy = trial(1e-5, -0.4, 0.0), trial(3e-5, -1.0, 0.7)
    assert best_rate([careful, greedy]) == 1e-5


def test_a_diverged_rate_never_wins() -> None:
    diverged = [Trial(9e-5, None, "the loss is nan"), trial(3e-5, math.nan, 0.0), trial(6e-5, -math.inf, 0.0)]
    assert best_rate([*diverged, trial(1e-5, 2.0, 0.5)]) == 1e-5
    assert best_rate(diverged) is None


def test_of_two_equal_rates_the_lower_wins() -> None:
    assert best_rate([trial(3e-5, -0.5, 0.0), trial(1e-5, -0.25, -0.25)]) == 1e-5

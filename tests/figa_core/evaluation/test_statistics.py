"""Means, intervals and paired differences, compared with slow, obvious code and published tables."""

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from figa_core.errors import EvaluationError
from figa_core.evaluation.statistics import Estimate, estimate, paired_difference, student_t_quantile

VALUES = st.lists(st.floats(min_value=-1e3, max_value=1e3), min_size=2, max_size=40)


def density(t: float, degrees: int) -> float:
    log = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    return math.exp(log - (degrees + 1) / 2 * math.log1p(t * t / degrees))


def cdf_by_simpson(t: float, degrees: int, pieces: int = 2000) -> float:
    width = t / pieces
    inner = sum((4 if i % 2 else 2) * density(i * width, degrees) for i in range(1, pieces))
    return 0.5 + (density(0, degrees) + inner + density(t, degrees)) * width / 3


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (1, 12.7062047362),
        (2, 4.30265272991),
        (3, 3.18244630528),
        (5, 2.57058183661),
        (10, 2.22813885196),
        (30, 2.04227245630),
        (100, 1.98397151845),
        (1000, 1.96233908083),
    ],
)
def test_the_t_quantile_equals_the_published_table(degrees: int, expected: float) -> None:
    assert student_t_quantile(0.975, degrees) == pytest.approx(expected, abs=2e-9)


@given(st.floats(min_value=0.5001, max_value=0.995), st.integers(min_value=1, max_value=600))
@settings(max_examples=40, deadline=None)
def test_the_t_quantile_inverts_the_integrated_density(probability: float, degrees: int) -> None:
    quantile = student_t_quantile(probability, degrees)
    assert cdf_by_simpson(quantile, degrees) == pytest.approx(probability, abs=2e-7)
    assert student_t_quantile(1 - probability, degrees) == pytest.approx(-quantile, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("probability", "degrees"), [(0.0, 5), (1.0, 5), (0.975, 0)])
def test_a_quantile_outside_its_domain_is_an_error(probability: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="need 0 < probability < 1"):
        student_t_quantile(probability, degrees)


@given(VALUES)
def test_an_estimate_equals_the_standard_library(values: list[float]) -> None:
    result = estimate(values)
    assert result.n == len(values)
    assert result.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert result.standard_error == pytest.approx(
        statistics.stdev(values) / math.sqrt(len(values)), rel=1e-9, abs=1e-9
    )


def test_the_interval_of_a_small_sample_equals_the_one_calculated_by_hand() -> None:
    # mean 3, s² = 2.5, standard error √(2.5/5) = 0.70711, t(0.975, 4) = 2.77645
    interval = estimate([1, 2, 3, 4, 5]).interval
    assert interval == pytest.approx((3 - 1.963243, 3 + 1.963243), abs=1e-5)


def test_intervals_cover_the_true_mean_about_95_percent_of_the_time() -> None:
    rng = random.Random(7)
    hits = 0
    for _ in range(2000):
        low, high = estimate(rng.gauss(4, 2) for _ in range(8)).interval or (0, 0)
        hits += low <= 4 <= high
    assert 0.935 <= hits / 2000 <= 0.965


def test_without_values_there_is_no_mean_and_with_one_value_no_interval() -> None:
    assert estimate([]) == Estimate(mean=None, standard_error=None, n=0)
    assert estimate([2.5]) == Estimate(mean=2.5, standard_error=None, n=1)
    assert estimate([]).interval is None
    assert estimate([2.5]).interval is None
    assert not estimate([2.5]).excludes_zero
    assert estimate([]).scaled(100) == estimate([])


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert estimate([0.1] * 10).interval == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_an_error(bad: float) -> None:
    with pytest.raises(EvaluationError, match="value 1 of 3"):
        estimate([1.0, bad, 2.0])


@given(VALUES, st.floats(min_value=-100, max_value=100).filter(lambda f: abs(f) > 1e-3))
def test_a_scaled_estimate_equals_the_estimate_of_scaled_values(values: list[float], factor: float) -> None:
    scaled, direct = estimate(values).scaled(factor), estimate([value * factor for value in values])
    assert scaled.mean == pytest.approx(direct.mean, rel=1e-9, abs=1e-7)
    assert scaled.standard_error == pytest.approx(direct.standard_error, rel=1e-9, abs=1e-7)


PAIRS = st.dictionaries(
    st.integers(min_value=0, max_value=999).map(str),
    st.tuples(st.floats(min_value=-50, max_value=50), st.floats(min_value=-50, max_value=50)),
    min_size=2,
    max_size=30,
)


@given(PAIRS)
def test_a_paired_difference_is_the_estimate_of_the_differences_in_any_order(
    pairs: dict[str, tuple[float, float]],
) -> None:
    before = {key: pair[0] for key, pair in pairs.items()}
    after = {key: pair[1] for key, pair in reversed(list(pairs.items()))}
    expected = estimate([pairs[key][1] - pairs[key][0] for key in pairs])
    result, back = paired_difference(before, after), paired_difference(after, before)
    assert result.mean == pytest.approx(expected.mean, abs=1e-9)
    assert result.standard_error == pytest.approx(expected.standard_error, abs=1e-9)
    assert back.mean == pytest.approx(-(result.mean or 0), abs=1e-9)


def test_pairing_cancels_how_easy_a_prompt_is_for_both() -> None:
    before = {f"p{i}": float(i) for i in range(100)}
    after = {key: value + 1 + (0.01 if value % 2 else -0.01) for key, value in before.items()}
    difference = paired_difference(before, after)
    assert difference.mean == pytest.approx(1)
    assert difference.excludes_zero
    assert (difference.standard_error or 1) < 0.002
    assert (estimate(before.values()).standard_error or 0) > 2


def test_different_prompts_cannot_be_paired_and_the_error_names_some_of_them() -> None:
    with pytest.raises(EvaluationError, match=r"1 only in before \(b\), 2 only in after \(c, d\)"):
        paired_difference({"a": 1, "b": 2}, {"a": 1, "c": 2, "d": 3})
    with pytest.raises(EvaluationError, match=r"0 only in before, 4 only in after \(b, c, d, …\)"):
        paired_difference({"a": 1}, dict.fromkeys("abcde", 1.0))

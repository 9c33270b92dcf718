"""Means over prompts and seeds: against closed forms, and how often their intervals hold."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.errors import EvaluationError
from figa_core.evaluation.crossed import UNTRAINED, crossed, crossed_difference, crossed_estimate
from figa_core.evaluation.statistics import estimate


def table(prompts: int, seeds: int, *, spread: tuple[float, float, float], rng: np.random.Generator) -> Any:
    """(P, S) values with a true mean of zero; `spread` of prompts, of seeds, and of the rest."""
    by_prompt, by_seed, rest = spread
    return (
        by_prompt * rng.normal(size=(prompts, 1))
        + by_seed * rng.normal(size=(1, seeds))
        + rest * rng.normal(size=(prompts, seeds))
    )


def test_with_one_seed_it_is_the_mean_over_prompts() -> None:
    values = [1.0, 4.0, 2.0, 8.0]
    found, expected = crossed({5: dict(zip("abcd", values, strict=True))}), estimate(values)
    assert (found.mean, found.prompts, found.seeds) == (expected.mean, 4, 1)
    assert found.interval() == pytest.approx(expected.interval)
    assert not found.covers_seeds


def test_the_variance_is_that_of_the_mean_squares() -> None:
    """Worked by hand: 2 prompts and 2 seeds."""
    found = crossed_estimate(np.array([[0.0, 4.0], [2.0, 8.0]]))
    prompts, seeds, rest = 9.0, 25.0, 1.0  # means 2, 5 and 1, 6; what is left is ±0.5 in each cell
    assert found.mean == 3.5
    assert found.standard_error == pytest.approx(math.sqrt((prompts + seeds - rest) / 4))
    total = prompts + seeds - rest
    assert found.degrees == pytest.approx(total**2 / (prompts**2 + seeds**2 + rest**2))


def test_seeds_that_agree_leave_the_uncertainty_of_the_prompts() -> None:
    values = {"a": 1.0, "b": 5.0, "c": 3.0}
    expected = estimate(values.values())
    found = crossed({0: values, 1: values, 2: values})
    assert found.interval() == pytest.approx(expected.interval)


def test_prompts_without_a_value_in_every_seed_are_left_out_and_counted() -> None:
    found = crossed({0: {"a": 1.0, "b": 2.0, "c": 9.0}, 1: {"a": 3.0, "b": 4.0}})
    assert (found.mean, found.prompts, found.left_out) == (2.5, 2, 1)


def test_a_single_prompt_has_a_mean_and_no_interval() -> None:
    found = crossed({0: {"a": 1.0}, 1: {"a": 2.0}})
    assert (found.mean, found.interval(), found.p_value) == (1.5, None, None)


def test_no_value_at_all_has_no_mean() -> None:
    for found in (crossed({}), crossed({0: {}}), crossed_difference({0: {"a": 1.0}}, {1: {"a": 1.0}})):
        assert (found.mean, found.interval(), found.p_value) == (None, None, None)


def test_an_untrained_model_is_compared_with_every_seed() -> None:
    base = {UNTRAINED: {"a": 1.0, "b": 2.0}}
    method = {0: {"a": 2.0, "b": 4.0}, 7: {"a": 4.0, "b": 4.0}}
    found = crossed_difference(base, method)
    assert (found.mean, found.seeds, found.prompts) == (2.0, 2, 2)
    back = crossed_difference(method, base)
    assert (back.mean, back.seeds) == (-2.0, 2)


def test_only_the_seeds_of_both_are_compared() -> None:
    one = {0: {"a": 1.0, "b": 1.0}, 1: {"a": 100.0, "b": 100.0}}
    found = crossed_difference(one, {0: {"a": 2.0, "b": 3.0}, 2: {"a": 0.0, "b": 0.0}})
    assert (found.mean, found.seeds) == (1.5, 1)


def test_equal_models_do_not_differ_and_a_difference_without_spread_is_certain() -> None:
    values = {0: {"a": 1.0, "b": 2.0}, 1: {"a": 3.0, "b": 4.0}}
    shifted = {seed: {k: v + 1 for k, v in of_seed.items()} for seed, of_seed in values.items()}
    assert crossed_difference(values, values).p_value == 1.0
    assert crossed_difference(values, shifted).p_value == 0.0


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(EvaluationError, match="1 of 4 values are not finite"):
        crossed({0: {"a": 1.0, "b": math.nan}, 1: {"a": 1.0, "b": 1.0}})


@given(st.randoms(use_true_random=False), st.integers(2, 6), st.integers(1, 4))
def test_the_order_of_prompts_and_seeds_does_not_matter(random: Any, prompts: int, seeds: int) -> None:
    names = [f"p{i}" for i in range(prompts)]
    values = {seed: {name: random.uniform(-5, 5) for name in names} for seed in range(seeds)}
    order = random.sample(list(values), seeds)
    shuffled = {seed: {name: values[seed][name] for name in random.sample(names, prompts)} for seed in order}
    assert crossed(values) == crossed(shuffled)


@pytest.mark.parametrize(
    ("prompts", "seeds", "spread"),
    [
        (40, 3, (1.0, 0.0, 1.0)),  # seeds do not matter
        (40, 3, (1.0, 0.3, 1.0)),
        (40, 5, (0.3, 1.0, 0.3)),  # little but seeds matters
        (10, 10, (1.0, 1.0, 1.0)),
        (40, 1, (1.0, 0.0, 1.0)),
    ],
)
def test_intervals_hold_about_as_often_as_they_say(
    prompts: int, seeds: int, spread: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(7)
    found = [crossed_estimate(table(prompts, seeds, spread=spread, rng=rng)) for _ in range(400)]
    covered = sum((each.p_value or 0.0) >= 0.05 for each in found) / len(found)
    assert 0.91 <= covered <= 0.99


def test_values_as_if_all_were_independent_would_promise_too_much() -> None:
    """The seeds' effect is shared by all prompts: 120 values are not 120 observations of a method."""
    rng = np.random.default_rng(7)
    tables = [table(40, 3, spread=(1.0, 0.5, 1.0), rng=rng) for _ in range(300)]
    naive = sum(not estimate(values.ravel()).excludes_zero for values in tables) / len(tables)
    ours = sum((crossed_estimate(values).p_value or 0.0) >= 0.05 for values in tables) / len(tables)
    assert naive < 0.75
    assert ours > 0.9

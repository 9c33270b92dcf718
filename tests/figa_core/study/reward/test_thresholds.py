"""Thresholds as quantiles of a run's scores."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from figa_core.config import FilterConfig
from figa_core.filtering import Candidate, resolve_threshold, resolve_thresholds
from figa_core.study.reward.thresholds import as_quantiles, quantile_of


def candidates(count: int) -> list[Candidate]:
    return [Candidate(f"r{n}", f"p{n}", n / 10, 10 + n / 5) for n in range(count)]


def test_numbers_become_the_quantiles_that_they_are() -> None:
    rows = candidates(100)
    config = FilterConfig(response_reward_below=3.0, reference_reward_above="q0.25", reward_gap_above=13.0)
    resolved = resolve_thresholds(3.0, "q0.25", 13.0, rows)
    found = as_quantiles(config, resolved, rows)
    assert found.response_reward_below == "q0.3"
    assert found.reference_reward_above == "q0.25"
    assert found.reward_gap_above == "q0.3"
    assert config.response_reward_below == 3.0


def test_a_run_without_references_keeps_the_numbers_that_decide_nothing() -> None:
    rows = [Candidate(f"r{n}", f"p{n}", float(n), None) for n in range(10)]
    config = FilterConfig()
    found = as_quantiles(config, resolve_thresholds(5.0, 3.0, 3.5, rows), rows)
    assert found.response_reward_below == "q0.5"
    assert found.reference_reward_above == config.reference_reward_above


@given(st.lists(st.integers(-999, 999), min_size=2, max_size=50, unique=True), st.integers(-1200, 1200))
def test_another_scale_keeps_about_the_same_share(values: list[int], threshold: int) -> None:
    setting = quantile_of(threshold, values)
    other = [3 * value - 7 for value in values]
    kept = np.mean(np.asarray(values) < threshold)
    again = np.mean(np.asarray(other) < resolve_threshold(setting, other))
    assert abs(kept - again) <= 1.01 / len(values)

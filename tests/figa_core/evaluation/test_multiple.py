"""Holm's correction, by hand and against its definition."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.evaluation.multiple import LEVEL, holm, simultaneous_confidence


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_it_lies_between_no_correction_and_bonferronis(p_values: list[float]) -> None:
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(p_values)) + 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_comparisons_does_not_matter(p_values: list[float], random: Any) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)
    shuffled = holm([p_values[index] for index in order])
    assert [holm(p_values)[index] for index in order] == pytest.approx(shuffled)


def test_among_true_nulls_a_false_alarm_is_as_rare_as_the_level() -> None:
    rng = np.random.default_rng(3)
    alarms = sum(min(holm(list(rng.uniform(size=10)))) < LEVEL for _ in range(2000)) / 2000
    assert 0.03 < alarms < 0.07


def test_intervals_of_more_comparisons_have_a_higher_level_each() -> None:
    assert simultaneous_confidence(1) == simultaneous_confidence(0) == 0.95
    assert simultaneous_confidence(10) == pytest.approx(0.995)

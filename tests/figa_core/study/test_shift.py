"""Distances of answers from the model's own."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.study.shift import at_equal_reward, edit_shares, mean_difference, mean_nll, novel_shares

NAN = float("nan")


def test_the_nll_of_an_answer_is_the_mean_over_its_tokens() -> None:
    found = mean_nll([[-1.0, -3.0], [], [-0.5]])
    assert found[[0, 2]].tolist() == [2.0, 0.5]
    assert math.isnan(found[1])


def test_a_difference_takes_only_pairs_that_have_both() -> None:
    found = mean_difference(np.array([1.0, 2.0, NAN]), np.array([2.0, NAN, 5.0]))
    assert (found.mean, found.n) == (1.0, 1)


def test_the_share_of_edits_is_of_the_longer_answer() -> None:
    found = edit_shares([(1, 2, 3, 4), (1, 2), (1,)], [(1, 2, 9, 4), (1, 2, 3, 4), ()])
    assert found[:2].tolist() == [0.25, 0.5]
    assert math.isnan(found[2])


def test_new_n_grams_are_those_that_no_known_answer_has() -> None:
    found = novel_shares([(1, 2, 3), (3, 4)], [(1, 2, 4)])
    assert found == {1: 0.0, 2: 0.5, 3: 1.0, 4: None}


@given(st.lists(st.lists(st.integers(0, 5), max_size=8), min_size=1, max_size=6))
def test_nothing_is_new_in_the_known_answers_themselves(known: list[list[int]]) -> None:
    assert all(share in (None, 0.0) for share in novel_shares(known, known).values())


def test_answers_are_compared_where_they_have_the_same_reward() -> None:
    rewards = {"revision": np.array([0.0, 1.0, 2.0, 1.0]), "reference": np.array([0.1, 5.0, NAN, 1.1])}
    nll = {"revision": np.array([1.0, 1.0, 1.0, 1.0]), "reference": np.array([2.0, 9.0, 9.0, 4.0])}
    found = at_equal_reward(rewards, nll)
    assert found is not None
    assert found.pairs == 2
    assert found.nll_difference.mean == pytest.approx(2.0)
    assert found.reward_difference.mean == pytest.approx(0.1)


def test_without_references_nothing_is_compared_at_equal_reward() -> None:
    nothing = np.array([NAN])
    assert at_equal_reward({"revision": np.array([1.0]), "reference": nothing}, {"revision": nothing}) is None

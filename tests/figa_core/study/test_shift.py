"""Distances of answers from the model's own."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.study.shift import (
    at_equal_data,
    at_equal_reward,
    edit_shares,
    mean_difference,
    mean_nll,
    novel_shares,
    same_reward,
)

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


REWARDS = {"revision": np.array([0.0, 1.0, 2.0, 1.0]), "reference": np.array([0.1, 5.0, NAN, 1.1])}


def nll_of(response: list[float], revision: list[float], reference: list[float]) -> dict[str, np.ndarray]:
    return {
        "response": np.array(response), "revision": np.array(revision), "reference": np.array(reference)
    }  # fmt: skip


def test_answers_are_compared_under_each_model_where_they_have_the_same_reward() -> None:
    same = same_reward(REWARDS)
    assert same is not None
    assert same.near.tolist() == [True, False, False, True]
    base = nll_of([0.0] * 4, [1.0] * 4, [2.0, 9.0, 9.0, 4.0])
    trained = nll_of([0.0] * 4, [1.0] * 4, [1.0, 9.0, 9.0, 2.0])
    found = at_equal_reward(REWARDS, {"base": base, "FIGA": trained}, same)
    assert found.pairs == 2
    assert {model: each.mean for model, each in found.nll_differences.items()} == {"base": 2.0, "FIGA": 0.5}
    assert found.reward_difference.mean == pytest.approx(0.1)


def test_without_references_nothing_has_the_same_reward() -> None:
    assert same_reward({"revision": np.array([1.0]), "reference": np.array([NAN])}) is None


def test_models_are_compared_where_they_had_equally_many_pairs() -> None:
    base = nll_of([1.0, 1.0, 1.0, 1.0], [2.0] * 4, [3.0, 3.0, NAN, 3.0])
    figa = nll_of([1.1, 1.3, 1.1, 1.1], [1.5] * 4, [2.5, 2.5, NAN, 2.5])
    sft = nll_of([1.5, 1.3, 1.1, 1.3], [1.6] * 4, [1.5, 1.5, NAN, 1.5])
    nll = {"base": base, "FIGA": figa, "SFT on Y": sft, "fewer": sft}
    trained_on = {"FIGA": 4, "SFT on Y": 4, "fewer": 3}
    [found] = at_equal_data(nll, trained_on, same_reward(REWARDS))
    assert (found.pairs, found.one, found.other) == (4, "FIGA", "SFT on Y")
    of_base = [mean_difference(base["response"], each["response"]).mean or 0.0 for each in (figa, sft)]
    assert found.kl.mean == pytest.approx(of_base[1] - of_base[0])
    assert (found.kl.mean, found.kl.n) == (pytest.approx(0.15), 4)
    assert (found.kl_at_equal_reward.mean, found.kl_at_equal_reward.n) == (pytest.approx(0.3), 2)
    assert (found.nll["revision"].mean, found.nll["reference"].mean) == (pytest.approx(0.1), -1.0)
    assert found.nll["reference"].n == 3


def test_models_that_had_different_numbers_of_pairs_are_not_compared() -> None:
    same = nll_of([1.0], [1.0], [1.0])
    assert at_equal_data({"base": same, "a": same, "b": same}, {"a": 3, "b": 4}, None) == ()

"""Classes and scales by scheme, and weights from classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.errors import ConfigError
from figa_core.records import EditClass
from figa_core.weighting.alignment import edit_classes
from figa_core.weighting.schemes import (
    Scheme,
    bag_of_words,
    counted_table,
    levenshtein,
    reward_scaled,
    scheme_named,
    token_weights,
)

K, I, S, D, E = (EditClass(value) for value in range(5))  # noqa: E741
SCHEMES = [levenshtein, bag_of_words, reward_scaled]
ids = st.lists(st.integers(0, 6), max_size=15).map(tuple)
weight = st.floats(0, 8, width=32)


def test_weights_by_class() -> None:
    response, revision = token_weights((K, S, D, E), (K, S, I, E), alpha=1.0, beta=0.5, gamma=0.1)
    np.testing.assert_array_equal(response, np.array([0, -0.5, -0.5, 0], np.float32))
    np.testing.assert_array_equal(revision, np.array([0.1, 1, 1, 1], np.float32))


def test_weights_of_nothing_are_nothing() -> None:
    response, revision = token_weights((), (), alpha=1.0, beta=0.5, gamma=0.1)
    assert response.size == revision.size == 0


@given(
    st.lists(st.sampled_from([K, S, D, E])), st.lists(st.sampled_from([K, S, I, E])), weight, weight, weight
)
def test_weights_are_the_formula(
    response: list[EditClass], revision: list[EditClass], alpha: float, beta: float, gamma: float
) -> None:
    """Paper eq. 6 and 7, token by token."""
    found = token_weights(response, revision, alpha=alpha, beta=beta, gamma=gamma)
    assert found[0].tolist() == [-beta if c in (S, D) else 0.0 for c in response]
    assert found[1].tolist() == [gamma if c == K else alpha for c in revision]


def test_the_end_of_turn_of_a_response_is_never_pushed_down_and_that_of_a_revision_is_learnt() -> None:
    response, revision = token_weights((E,), (E,), alpha=1.0, beta=0.5, gamma=0.0)
    assert (response.tolist(), revision.tolist()) == ([0.0], [1.0])


def test_which_classes_enter_n_does_not_depend_on_the_weights() -> None:
    assert [c for c in EditClass if counted_table(revision=True)[c]] == [I, S, E]
    assert [c for c in EditClass if counted_table(revision=False)[c]] == [S, D]


def test_tables_have_the_types_that_the_loader_multiplies_and_counts_with() -> None:
    weights = token_weights((K, S), (K, S), alpha=1.0, beta=0.5, gamma=0.1)
    assert {table.dtype for table in weights} == {np.dtype(np.float32)}
    assert counted_table(revision=True).dtype == counted_table(revision=False).dtype == np.bool_


def test_a_bag_of_words_ignores_order() -> None:
    assert bag_of_words((1, 2, 3, 3), (3, 1, 4), 1.0) == ((K, D, K, K), (K, K, I), 1.0)


@given(ids, ids)
def test_bag_of_words_marks_exactly_the_ids_absent_from_the_other_side(
    before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    left, right, _ = bag_of_words(before, after, 1.0)
    assert [c == D for c in left] == [token not in after for token in before]
    assert [c == I for c in right] == [token not in before for token in after]


@given(ids, ids, st.floats(-10, 10))
def test_only_reward_scaled_looks_at_the_reward(
    before: tuple[int, ...], after: tuple[int, ...], gain: float
) -> None:
    classes = edit_classes(before, after)
    assert levenshtein(before, after, gain) == (*classes, 1.0)
    assert reward_scaled(before, after, gain) == (*classes, gain)
    assert bag_of_words(before, after, gain).scale == 1.0


@pytest.mark.parametrize("scheme", SCHEMES)
@given(before=ids, after=ids)
def test_every_scheme_gives_one_class_a_token_and_leaves_identical_texts_alone(
    scheme: Scheme, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    left, right, _ = scheme(before, after, 1.0)
    assert (len(left), len(right)) == (len(before), len(after))
    assert set(left) <= {K, S, D}
    assert set(right) <= {K, S, I}
    assert set(scheme(before, before, 1.0)[0]) | set(scheme(before, before, 1.0)[1]) <= {K}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes_are_found_by_name(scheme: Scheme) -> None:
    assert scheme_named(scheme.__name__) is scheme


def test_an_unknown_scheme_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="known: levenshtein, bag_of_words, reward_scaled"):
        scheme_named("soft")

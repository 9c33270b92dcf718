"""The classes and scales of each scheme, and the weights of each class."""

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
    response_weight_table,
    revision_weight_table,
    reward_scaled,
    scheme_named,
)

K, I, S, D, E = (EditClass(value) for value in range(5))  # noqa: E741
SCHEMES = [levenshtein, bag_of_words, reward_scaled]
ids = st.lists(st.integers(0, 6), max_size=15).map(tuple)
weight = st.floats(0, 8, width=32)


@given(weight, weight, weight)
def test_weights_are_the_formula(alpha: float, beta: float, gamma: float) -> None:
    """Paper eq. 6 and 7: Ŷ has no inserted and Ỹ no deleted tokens."""
    response, revision = response_weight_table(beta), revision_weight_table(alpha, gamma)
    assert response[[K, S, D, E]].tolist() == [0.0, -beta, -beta, 0.0]
    assert revision[[K, I, S, E]].tolist() == [gamma, alpha, alpha, alpha]


def test_which_classes_enter_n_does_not_depend_on_the_weights() -> None:
    assert [c for c in EditClass if counted_table(revision=True)[c]] == [I, S, E]
    assert [c for c in EditClass if counted_table(revision=False)[c]] == [S, D]


def test_the_tables_have_the_types_that_the_loader_needs() -> None:
    assert response_weight_table(0.5).dtype == revision_weight_table(1.0, 0.1).dtype == np.float32
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
def test_every_scheme_gives_each_token_a_class_and_keeps_identical_texts(
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


def test_an_unknown_scheme_is_refused_with_the_known_names() -> None:
    with pytest.raises(ConfigError, match="known: levenshtein, bag_of_words, reward_scaled"):
        scheme_named("soft")

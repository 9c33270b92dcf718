"""Classes by scheme, and weights from classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.errors import ConfigError
from figa_core.records import EditClass
from figa_core.weighting.schemes import bag_of_words, levenshtein, scheme_named, token_weights

K, I, S, D, E = (EditClass(value) for value in range(5))  # noqa: E741
ids = st.lists(st.integers(0, 6), max_size=15).map(tuple)


def test_weights_by_class() -> None:
    response, revision = token_weights((K, S, D, E), (K, S, I, E), alpha=1.0, beta=0.5, gamma=0.1)
    np.testing.assert_array_equal(response, np.array([0, -0.5, -0.5, 0], np.float32))
    np.testing.assert_array_equal(revision, np.array([0.1, 1, 1, 1], np.float32))


def test_weights_of_nothing_are_nothing() -> None:
    response, revision = token_weights((), (), alpha=1.0, beta=0.5, gamma=0.1)
    assert response.size == revision.size == 0


def test_a_bag_of_words_ignores_order() -> None:
    assert bag_of_words((1, 2, 3, 3), (3, 1, 4)) == ((K, D, K, K), (K, K, I))


@given(ids, ids)
def test_bag_of_words_marks_exactly_the_ids_absent_from_the_other_side(
    before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    left, right = bag_of_words(before, after)
    assert [c == D for c in left] == [token not in after for token in before]
    assert [c == I for c in right] == [token not in before for token in after]


def test_schemes_are_found_by_name() -> None:
    assert scheme_named("levenshtein") is levenshtein
    with pytest.raises(ConfigError, match="known: levenshtein, bag_of_words"):
        scheme_named("soft")

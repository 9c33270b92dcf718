"""Whether two sets of embeddings have one distribution."""

import numpy as np
import pytest

from figa_core.study.mmd import discrepancy


def gaussian(seed: int, n: int = 80, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4)) + shift


def test_two_samples_of_one_distribution_are_not_told_apart() -> None:
    found = discrepancy(gaussian(1), gaussian(2))
    assert found is not None
    assert found.p > 0.05
    assert abs(found.squared) < 0.02


def test_a_shifted_sample_is_told_apart() -> None:
    found = discrepancy(gaussian(1), gaussian(2, shift=1.0))
    assert found is not None
    assert found.p < 0.01
    assert found.squared > 0.05


def test_the_estimate_is_that_of_its_formula() -> None:
    one, other = gaussian(3, n=5), gaussian(4, n=7, shift=0.5)
    points = np.concatenate([one, other])
    squares = ((points[:, None] - points[None, :]) ** 2).sum(axis=-1)
    width = np.median(squares[np.triu_indices(12, 1)])
    kernel = np.exp(-squares / width)
    within = sum(kernel[i, j] for i in range(5) for j in range(5) if i != j) / 20
    other_within = sum(kernel[i, j] for i in range(5, 12) for j in range(5, 12) if i != j) / 42
    between = sum(kernel[i, j] for i in range(5) for j in range(5, 12)) / 35
    found = discrepancy(one, other)
    assert found is not None
    assert found.squared == pytest.approx(within + other_within - 2 * between)


def test_equal_vectors_differ_in_nothing() -> None:
    found = discrepancy(np.ones((4, 2)), np.ones((4, 2)))
    assert found is not None
    assert (found.squared, found.p) == (pytest.approx(0.0), 1.0)


def test_one_vector_has_no_distribution() -> None:
    assert discrepancy(gaussian(1, n=1), gaussian(2)) is None

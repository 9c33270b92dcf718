"""The maximum mean discrepancy: whether two sets of embeddings have one distribution.

Gretton et al. (2012), A Kernel Two-Sample Test, Journal of Machine Learning Research 13: the unbiased
estimate (equation 3) with a Gaussian kernel, whose width is the median distance of all points, and a test by
permutation of the two sets.

Shapes: N and M vectors of dimension D.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_PERMUTATIONS = 500
_SEED = 0

Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """`squared` is the unbiased estimate of MMD², which may be a little below zero; 0 for one distribution.

    `p` is the share of permutations, with the sets themselves counted as one, that are as far apart.
    """

    squared: float
    p: float
    vectors: int


def discrepancy(one_ND: Vectors, other_MD: Vectors) -> Discrepancy | None:
    """Of two sets of vectors; None with fewer than two in a set."""
    n, m = len(one_ND), len(other_MD)
    if min(n, m) < 2:
        return None
    kernel = _kernel(np.concatenate([one_ND, other_MD]).astype(np.float64))
    found = _squared(kernel, np.arange(n + m), n)
    random = np.random.default_rng(_SEED)
    others = [_squared(kernel, random.permutation(n + m), n) for _ in range(_PERMUTATIONS)]
    as_far = sum(each >= found for each in others)
    return Discrepancy(squared=found, p=(1 + as_far) / (1 + _PERMUTATIONS), vectors=n)


def _kernel(vectors_ND: Vectors) -> Vectors:
    """Gaussian, of every two vectors; 1 everywhere if all are equal."""
    norms_N = np.einsum("nd,nd->n", vectors_ND, vectors_ND)
    squares_NN = np.maximum(norms_N[:, None] + norms_N[None, :] - 2 * vectors_ND @ vectors_ND.T, 0)
    off_diagonal = squares_NN[np.triu_indices(len(vectors_ND), 1)]
    width = float(np.median(off_diagonal)) or float(np.mean(off_diagonal)) or 1.0
    return np.exp(-squares_NN / width)


def _squared(kernel_NN: Vectors, order: npt.NDArray[np.int64], n: int) -> float:
    """MMD² if the first `n` of this order are one set."""
    one, other = order[:n], order[n:]
    m = len(other)
    within_one = kernel_NN[np.ix_(one, one)].sum() - n  # the diagonal is 1
    within_other = kernel_NN[np.ix_(other, other)].sum() - m
    between = kernel_NN[np.ix_(one, other)].mean()
    return float(within_one / (n * (n - 1)) + within_other / (m * (m - 1)) - 2 * between)

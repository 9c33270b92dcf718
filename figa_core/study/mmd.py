"""The maximum mean discrepancy: whether two sets of embeddings have one distribution.

Gretton et al. (2012), A Kernel Two-Sample Test, Journal of Machine Learning Research 13: the unbiased
estimate (equation 3) with a Gaussian kernel, whose width is the median distance of all points, and a test by
permutation of the two sets.

Shapes: N and M vectors of dimension D, and below N of both; P divisions of them into two sets.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_PERMUTATIONS = 500
_SEED = 0
_ROUNDING = 1e-12

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
    random = np.random.default_rng(_SEED)
    orders = [np.arange(n + m), *(random.permutation(n + m) for _ in range(_PERMUTATIONS))]
    is_one_NP = np.zeros((n + m, len(orders)))
    for column, order in enumerate(orders):
        is_one_NP[order[:n], column] = 1
    squares_P = _squared(kernel, is_one_NP, n)
    as_far = int((squares_P[1:] >= squares_P[0] - _ROUNDING).sum())
    return Discrepancy(squared=float(squares_P[0]), p=(1 + as_far) / (1 + _PERMUTATIONS), vectors=n)


def _kernel(vectors_ND: Vectors) -> Vectors:
    """Gaussian, of every two vectors; 1 everywhere if all are equal."""
    norms_N = np.einsum("nd,nd->n", vectors_ND, vectors_ND)
    squares_NN = np.maximum(norms_N[:, None] + norms_N[None, :] - 2 * vectors_ND @ vectors_ND.T, 0)
    off_diagonal = squares_NN[np.triu_indices(len(vectors_ND), 1)]
    width = float(np.median(off_diagonal)) or float(np.mean(off_diagonal)) or 1.0
    return np.exp(-squares_NN / width)


def _squared(kernel_NN: Vectors, is_one_NP: Vectors, n: int) -> Vectors:
    """MMD² of P divisions into two sets, shape [P]: a column has 1 for the `n` vectors of one set.

    Sums over blocks are products of matrices: to gather the blocks of every division takes much longer.
    """
    m = len(kernel_NN) - n
    within_one_P = (is_one_NP * (kernel_NN @ is_one_NP)).sum(axis=0)
    between_P = kernel_NN.sum(axis=1) @ is_one_NP - within_one_P
    within_other_P = kernel_NN.sum() - within_one_P - 2 * between_P
    one_P = (within_one_P - n) / (n * (n - 1))  # the diagonal is 1
    return one_P + (within_other_P - m) / (m * (m - 1)) - 2 * between_P / (n * m)

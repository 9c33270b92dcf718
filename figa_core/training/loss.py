"""The weighted loss, as sums with their counts; the one division by N happens in `loop.py`.

Shapes: K weighted tokens of a micro-batch, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch.nn import functional

_MAX_PROBABILITY = 1 - 1e-4


class LossSums(NamedTuple):
    """Sums over the weighted tokens of one micro-batch; only `weighted_sum` carries a gradient.

    Attributes:
        weighted_sum: Σ w·term, to be divided by N of the whole step.
        positive_nll: Σ NLL of the tokens with a positive weight.
        positives: how many those are.
        negatives: tokens with a negative weight, before the gate.
        gated: those of them that the gate left out.
    """

    weighted_sum: torch.Tensor
    positive_nll: torch.Tensor
    positives: torch.Tensor
    negatives: torch.Tensor
    gated: torch.Tensor


def weighted_nll(
    logits_KV: torch.Tensor, targets_K: torch.Tensor, weights_K: torch.Tensor, negative_nll_max: float | None
) -> LossSums:
    """Paper eq. 8 before its division: Σ_t w_t · NLL_t, computed in fp32 at least.

    A token with a negative weight counts only while its NLL is at most `negative_nll_max` (the authors'
    code, not their formula), so that tokens the model already avoids are not pushed further; None switches
    that off.

    Raises:
        ValueError: logits, targets and weights are not of one length.
    """
    nll_K = _nll(logits_KV, targets_K, weights_K)
    negative_K = weights_K < 0
    gated_K = (
        torch.zeros_like(negative_K) if negative_nll_max is None else negative_K & (nll_K > negative_nll_max)
    )
    # `where`, not a product: 0 · inf would be NaN for a token the model rules out entirely.
    return _sums(torch.where(gated_K, 0.0, weights_K * nll_K), nll_K, weights_K, gated_K)


def weighted_unlikelihood(
    logits_KV: torch.Tensor, targets_K: torch.Tensor, weights_K: torch.Tensor
) -> LossSums:
    """Like `weighted_nll`, with |w| · −log(1 − p) on the negative tokens (p clamped at 1 − 1e-4), no gate."""
    nll_K = _nll(logits_KV, targets_K, weights_K)
    negative_K = weights_K < 0
    probability_K = torch.exp(-nll_K).clamp(max=_MAX_PROBABILITY)
    term_K = torch.where(negative_K, -torch.log1p(-probability_K), nll_K)
    return _sums(weights_K.abs() * term_K, nll_K, weights_K, torch.zeros_like(negative_K))


def _nll(logits_KV: torch.Tensor, targets_K: torch.Tensor, weights_K: torch.Tensor) -> torch.Tensor:
    lengths = len(logits_KV), len(targets_K), len(weights_K)
    if len(set(lengths)) > 1:  # a single weight would be broadcast in silence
        raise ValueError(f"logits, targets and weights must be of one length, and are {lengths}")
    if logits_KV.dtype in (torch.bfloat16, torch.float16):
        logits_KV = logits_KV.float()
    return functional.cross_entropy(logits_KV, targets_K, reduction="none")


def _sums(
    terms_K: torch.Tensor, nll_K: torch.Tensor, weights_K: torch.Tensor, gated_K: torch.Tensor
) -> LossSums:
    positive_K = weights_K > 0
    return LossSums(
        weighted_sum=terms_K.sum(),
        positive_nll=torch.where(positive_K, nll_K.detach(), 0.0).sum(),
        positives=positive_K.sum(),
        negatives=(weights_K < 0).sum(),
        gated=gated_K.sum(),
    )

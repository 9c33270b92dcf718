"""The base model's most likely tokens at the unchanged tokens of Ỹ, and the KL divergence from them.

The base model's distribution at a token is stored as its C most likely tokens and one bucket for all others
(`reference_pass.py`), so that no training holds a second model. The divergence over these buckets is at most
the full one (data-processing inequality), and equal to it if C is the size of the vocabulary.

Shapes: A unchanged tokens, C most likely tokens, D = C + 1 buckets, V vocabulary.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

TOP_TOKENS = 32
"""C; at 260 bytes a token of Ỹ, on disk before compression and in memory."""


class TopTokens(NamedTuple):
    """`places_A` are indices of the weighted tokens of a sequence or micro-batch.

    `log_probs_AD` has the base model's log-probabilities of `ids_AC`, then that of all others together.
    """

    places_A: npt.NDArray[np.int64]
    ids_AC: npt.NDArray[np.integer]
    log_probs_AD: npt.NDArray[np.float32]


def joined(parts: Iterable[TopTokens | None], counts: Sequence[int]) -> TopTokens | None:
    """Those of sequences with `counts` weighted tokens one after another; None if no sequence has any."""
    starts = np.cumsum([0, *counts[:-1]])
    found = [
        part._replace(places_A=part.places_A + start)
        for part, start in zip(parts, starts, strict=True)
        if part is not None and len(part.places_A)
    ]
    return TopTokens(*(np.concatenate(column) for column in zip(*found, strict=True))) if found else None


def top_tokens_of(logits_AV: "torch.Tensor", count: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """The ids (A, C) of the most likely tokens, and the log-probabilities (A, D) of all buckets."""
    ids_AC = logits_AV.topk(min(count, logits_AV.shape[1]), dim=1).indices
    return ids_AC, _in_buckets(logits_AV, ids_AC)


def kl_from_base(
    logits_AV: "torch.Tensor", ids_AC: "torch.Tensor", base_log_probs_AD: "torch.Tensor"
) -> "torch.Tensor":
    """Σ p · (log p − log q) over the buckets, (A): p is the base model's probability, q the model's."""
    log_probs_AD = _in_buckets(logits_AV, ids_AC.long())
    p_AD = base_log_probs_AD.exp()
    # Filled, not multiplied: 0 · −inf would be NaN where the base model leaves nothing for a bucket.
    terms_AD = p_AD * (base_log_probs_AD - log_probs_AD).masked_fill(p_AD == 0, 0.0)
    return terms_AD.sum(dim=1)


def _in_buckets(logits_AV: "torch.Tensor", ids_AC: "torch.Tensor") -> "torch.Tensor":
    """Log-probabilities (A, D) of the given tokens, and of all others together.

    Those of the others are summed, not one minus the rest, which would be lost in rounding for a sure model.
    """
    import torch

    if logits_AV.dtype in (torch.bfloat16, torch.float16):
        logits_AV = logits_AV.float()
    total_A1 = logits_AV.logsumexp(dim=1, keepdim=True)
    given_AC = logits_AV.gather(1, ids_AC)
    if ids_AC.shape[1] == logits_AV.shape[1]:
        others_A1 = torch.full_like(total_A1, -torch.inf)
    else:
        others_A1 = logits_AV.scatter(1, ids_AC, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.cat((given_AC, others_A1), dim=1) - total_A1


def tensors(top: TopTokens, tensor: Any) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """`top` as tensors, made by `tensor`."""
    places_A, ids_AC, log_probs_AD = (tensor(array) for array in top)
    return places_A, ids_AC, log_probs_AD

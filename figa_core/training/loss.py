"""From logits to what objectives are made of.

Shapes: K weighted tokens of a micro-batch, V vocabulary.
"""

import torch
from torch.nn import functional


def token_nll(logits_KV: torch.Tensor, targets_K: torch.Tensor, weights_K: torch.Tensor) -> torch.Tensor:
    """−log p of each target, (K), computed in fp32 at least.

    Raises:
        ValueError: logits, targets and weights are not of one length.
    """
    lengths = len(logits_KV), len(targets_K), len(weights_K)
    if len(set(lengths)) > 1:  # a single weight would be broadcast in silence
        raise ValueError(f"logits, targets and weights must be of one length, and are {lengths}")
    if logits_KV.dtype in (torch.bfloat16, torch.float16):
        logits_KV = logits_KV.float()
    return functional.cross_entropy(logits_KV, targets_K, reduction="none")

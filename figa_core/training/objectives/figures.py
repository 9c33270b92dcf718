"""Figures that several objectives report."""

from typing import TYPE_CHECKING

from figa_core.training.objectives.base import Figure, Predictions

if TYPE_CHECKING:
    import torch

POSITIVE_NLL = Figure("positive_nll", "NLL of positive tokens")


def positive_nll(predictions: Predictions) -> "tuple[torch.Tensor, torch.Tensor]":
    """Σ NLL of the tokens with a positive weight, and their number."""
    positive_K = predictions.weights_K > 0
    return predictions.nll_K.detach().masked_fill(~positive_K, 0.0).sum(), positive_K.sum()

"""What objectives on single tokens share: weights by edit class, and figures."""

from typing import TYPE_CHECKING

from figa_core.training.objectives.base import Answer, ClassTables, Figure, Predictions, Terms

if TYPE_CHECKING:
    import torch

    from figa_core.config import LossConfig

POSITIVE_NLL = Figure("positive_nll", "NLL of positive tokens")


def edit_tables(answer: Answer, loss: "LossConfig") -> ClassTables:
    """α, β and γ by class (paper eq. 6–7)."""
    from figa_core.weighting.schemes import counted_table, response_weight_table, revision_weight_table

    if answer == "response":
        return ClassTables(response_weight_table(loss.beta), counted_table(revision=False))
    return ClassTables(revision_weight_table(loss.alpha, loss.gamma), counted_table(revision=True))


def positive_nll(predictions: Predictions) -> "tuple[torch.Tensor, torch.Tensor]":
    """Σ NLL of the tokens with a positive weight, and how many they are."""
    positive_K = predictions.weights_K > 0
    return predictions.nll_K.detach().masked_fill(~positive_K, 0.0).sum(), positive_K.sum()


def weighted_nll(predictions: Predictions) -> Terms:
    """Σ_t w_t · NLL_t."""
    terms_K = predictions.weights_K * predictions.nll_K
    return Terms(terms_K.sum(), {POSITIVE_NLL.name: positive_nll(predictions)})

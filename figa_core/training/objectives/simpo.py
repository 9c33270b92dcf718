"""Simple preference optimization without a reference model (Meng et al., arXiv 2405.14734, eq. 6)."""

from typing import TYPE_CHECKING

from figa_core.training.objectives.base import Predictions
from figa_core.training.objectives.preference import Preference
from figa_core.training.objectives.sequences import means, of_answer

if TYPE_CHECKING:
    import torch


class Simpo(Preference):
    """−log σ(r(Ỹ) − r(Ŷ) − γ), where r is β times the mean log-probability of an answer's tokens.

    γ (`preference_margin`) is the paper's, in units of the reward; the authors' code has γ/β. Its defaults,
    β = 2 and γ = 1, are those of the paper's Llama-3-Base, and the ratio that its authors advise to start at.
    """

    name, label = "simpo", "SimPO"
    reads = ("preference_beta", "preference_margin")
    own_beta = 2.0

    def rewards(self, predictions: Predictions) -> "tuple[torch.Tensor, torch.Tensor]":
        """β times the mean log-probability of each answer."""
        rewards_S = -self.beta * means(predictions.nll_K, predictions)
        chosen, rejected = self.answers
        return of_answer(rewards_S, predictions, chosen), of_answer(rewards_S, predictions, rejected)

    def losses(self, chosen_P: "torch.Tensor", rejected_P: "torch.Tensor") -> "torch.Tensor":
        """log 2 where the margin is γ."""
        from torch.nn.functional import logsigmoid

        return -logsigmoid(chosen_P - rejected_P - self.loss.preference_margin)

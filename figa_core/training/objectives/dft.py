"""Dynamic fine-tuning (Wu et al., arXiv 2508.05629): each token's loss times its own probability."""

from figa_core.training.objectives.base import Predictions, Terms
from figa_core.training.objectives.figures import POSITIVE_NLL, positive_nll
from figa_core.training.objectives.sft import Sft


class Dft(Sft):
    """Mean of p_t · NLL_t over the tokens of Ỹ, where p_t is a constant: SFT without its large gradients.

    The gradient of NLL grows with 1/p; times p it does not, so a token that the model holds impossible
    teaches little.
    """

    name, label = "dft", "DFT on Ỹ"
    answers = ("revision",)
    ranks_models = False  # it is 0 for answers that the model holds impossible

    def terms(self, predictions: Predictions) -> Terms:
        """Σ_t p_t · NLL_t, without a gradient through p_t."""
        probability_K = (-predictions.nll_K.detach()).exp()
        loss = (predictions.weights_K * probability_K * predictions.nll_K).sum()
        return Terms(loss, {POSITIVE_NLL.name: positive_nll(predictions)})


class DftReference(Dft):
    """The same on Y; pairs without a reference do not count."""

    name, label = "dft_reference", "DFT on Y"
    answers = ("reference",)

"""Supervised fine-tuning on the references."""

from figa_core.training.objectives.base import Objective, Predictions, Terms
from figa_core.training.objectives.figures import POSITIVE_NLL, positive_nll


class Sft(Objective):
    """Mean NLL of the tokens of Y; pairs without a reference do not count."""

    name, label = "sft", "SFT on Y"
    answers = ("reference",)
    figures = (POSITIVE_NLL,)

    def terms(self, predictions: Predictions) -> Terms:
        """Σ_t NLL_t."""
        loss = (predictions.weights_K * predictions.nll_K).sum()
        return Terms(loss, {POSITIVE_NLL.name: positive_nll(predictions)})

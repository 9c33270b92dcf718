"""Supervised fine-tuning on the references."""

from figa_core.training.objectives.base import Objective, Predictions, Terms
from figa_core.training.objectives.edits import POSITIVE_NLL, weighted_nll


class Sft(Objective):
    """Mean NLL of the tokens of Y; a pair without a reference has none."""

    name, label = "sft", "SFT on Y"
    answers = ("reference",)
    figures = (POSITIVE_NLL,)

    def terms(self, predictions: Predictions) -> Terms:
        """Every token's NLL."""
        return weighted_nll(predictions)

"""FIGA: edited tokens up or down (Guo et al., arXiv 2311.04072, eq. 6–8)."""

import math

from figa_core.training.objectives.base import Answer, ClassTables, Figure, Objective, Predictions, Terms
from figa_core.training.objectives.edits import POSITIVE_NLL, edit_tables, positive_nll

GATED = Figure("negatives_gated_share", "share of negative tokens gated")


class Figa(Objective):
    """Σ_t w_t · NLL_t, with a gate on the negative tokens.

    A token with a negative weight counts only while its NLL is at most `negative_nll_max` (the authors'
    code, not their formula), so that tokens the model already avoids are not pushed further; None switches
    that off.
    """

    name, label = "figa", "FIGA"
    answers = ("response", "revision")
    reads = ("alpha", "beta", "gamma", "negative_nll_max")
    scaled = True
    figures = (POSITIVE_NLL, GATED)

    def class_tables(self, answer: Answer, /) -> ClassTables:
        """α, β and γ by class."""
        return edit_tables(answer, self.loss)

    def terms(self, predictions: Predictions) -> Terms:
        """Gated, weighted NLL."""
        nll_K, weights_K = predictions.nll_K, predictions.weights_K
        gate = math.inf if self.loss.negative_nll_max is None else self.loss.negative_nll_max
        negative_K = weights_K < 0
        gated_K = negative_K & (nll_K > gate)
        # Filled, not multiplied: 0 · inf would be NaN for a token the model rules out entirely.
        loss = (weights_K * nll_K).masked_fill(gated_K, 0.0).sum()
        figures = {
            POSITIVE_NLL.name: positive_nll(predictions),
            GATED.name: (gated_K.sum(), negative_K.sum()),
        }
        return Terms(loss, figures)

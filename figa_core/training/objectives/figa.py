"""FIGA: raise the likelihood of inserted tokens, lower that of deleted ones (arXiv 2311.04072, eq. 6–8)."""

import math

from figa_core.training.objectives.base import Answer, ClassTables, Figure, Objective, Predictions, Terms
from figa_core.training.objectives.figures import POSITIVE_NLL, positive_nll

GATED = Figure("negatives_gated_share", "share of negative tokens gated")


class Figa(Objective):
    """Σ_t w_t · NLL_t, with a gate on the negative tokens.

    A token with a negative weight has an effect only while its NLL is at most `negative_nll_max` (in the
    authors' code, not in their formula), so that tokens the model already avoids are not pushed further.
    None disables the gate.
    """

    name, label = "figa", "FIGA"
    answers = ("response", "revision")
    reads = ("alpha", "beta", "gamma", "negative_nll_max")
    scaled = True
    figures = (POSITIVE_NLL, GATED)

    def class_tables(self, answer: Answer, /) -> ClassTables:
        """α, β and γ by class (paper eq. 6–7)."""
        from figa_core.weighting.schemes import counted_table, response_weight_table, revision_weight_table

        if answer == "response":
            return ClassTables(response_weight_table(self.loss.beta), counted_table(revision=False))
        return ClassTables(
            revision_weight_table(self.loss.alpha, self.loss.gamma), counted_table(revision=True)
        )

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

"""FIGA: raise the likelihood of inserted tokens, lower that of deleted ones (arXiv 2311.04072, eq. 6–8)."""

import math
from typing import TYPE_CHECKING

from figa_core.training.objectives.base import Answer, ClassTables, Figure, Objective, Predictions, Terms
from figa_core.training.objectives.figures import POSITIVE_NLL, positive_nll

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from figa_core.weighting.places import PairTokens

GATED = Figure("negatives_gated_share", "share of negative tokens gated")
BASE_KL = Figure("base_kl", "KL from the base model at unchanged tokens")


class Figa(Objective):
    """Σ_t w_t · NLL_t, with a gate on the negative tokens.

    A token with a negative weight has an effect only while its NLL is at most `negative_nll_max` (in the
    authors' code, not in their formula), so that tokens the model already avoids are not pushed further.
    None disables the gate.

    Three settings say what holds the unchanged tokens of Ỹ besides γ, and which tokens of Ŷ are pushed down:
    γ may fade with the distance to an edit (`weighting/places.py`), κ · KL(base ‖ model) may be added at each
    unchanged token, and a token of Ŷ may be left alone if Ỹ contains it as well.

    κ is divided by N like every weight, and not by the number of unchanged tokens: it is to the divergence
    what γ is to the NLL, and does not get weaker as the answers get longer. A pair's scale does not count.
    """

    name, label = "figa", "FIGA"
    answers = ("response", "revision")
    reads = ("alpha", "beta", "gamma", "negative_nll_max", "gamma_fade_tokens", "kl_weight", "negatives")
    scaled = True
    figures = (POSITIVE_NLL, GATED, BASE_KL)
    ranks_models = False  # it rises when a negative token passes the gate

    def class_tables(self, answer: Answer, /) -> ClassTables:
        """α, β and γ by class (paper eq. 6–7)."""
        from figa_core.weighting.schemes import counted_table, response_weight_table, revision_weight_table

        if answer == "response":
            return ClassTables(response_weight_table(self.loss.beta), counted_table(revision=False))
        return ClassTables(
            revision_weight_table(self.loss.alpha, self.loss.gamma), counted_table(revision=True)
        )

    def token_weights(self, answer: Answer, pair: "PairTokens", /) -> "npt.NDArray[np.float32] | None":
        """γ · exp(−d/τ) for the unchanged tokens of Ỹ; no weight for tokens of Ŷ that Ỹ contains."""
        from figa_core.records import EditClass
        from figa_core.weighting.places import absent_from_revision, fading

        weights = self.tables[answer].weights
        if answer == "response" and self.loss.negatives == "unique":
            return weights[pair.response_classes_R] * absent_from_revision(pair)
        if answer == "revision" and self.loss.gamma and self.loss.gamma_fade_tokens is not None:
            faded = fading(pair, self.loss.gamma_fade_tokens)
            faded[pair.revision_classes_V != EditClass.KEPT] = 1
            return weights[pair.revision_classes_V] * faded
        return None

    @property
    def reference_answers(self) -> tuple[Answer, ...]:
        """Ỹ if it is held to the base model."""
        return ("revision",) if self.held_to_base else ()

    @property
    def held_to_base(self) -> bool:
        """With a κ above 0."""
        return self.loss.kl_weight > 0

    @property
    def reported(self) -> tuple[Figure, ...]:
        """All, but the divergence only with a κ above 0."""
        return tuple(figure for figure in self.figures if figure is not BASE_KL or self.held_to_base)

    def held(self, predictions: Predictions, terms: Terms) -> Terms:
        """`terms` with κ · KL(base ‖ model) at the unchanged tokens of Ỹ."""
        if not self.held_to_base:
            return terms
        kl_A = predictions.base_kl_A
        if kl_A is None:  # a micro-batch with answers Ŷ alone
            return terms._replace(figures={**terms.figures, BASE_KL.name: (0.0, 0.0)})
        figures = {**terms.figures, BASE_KL.name: (kl_A.detach().sum(), len(kl_A))}
        return Terms(terms.loss + self.loss.kl_weight * kl_A.sum(), figures)

    def terms(self, predictions: Predictions) -> Terms:
        """Gated, weighted NLL, and what holds the model to its base."""
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
        return self.held(predictions, Terms(loss, figures))

"""FIGA's weights with unlikelihood on the negative tokens (Welleck et al., arXiv 1908.04319)."""

from typing import TYPE_CHECKING

from figa_core.training.objectives.base import Predictions, Terms
from figa_core.training.objectives.figa import BASE_KL, Figa
from figa_core.training.objectives.figures import POSITIVE_NLL, positive_nll

if TYPE_CHECKING:
    from figa_core.config import LossConfig

_MAX_PROBABILITY = 1 - 1e-4


class Unlikelihood(Figa):
    """w · NLL on the positive tokens, |w| · −log(1 − p) on the negative ones (p clamped), and no gate."""

    name, label = "unlikelihood", "unlikelihood"
    reads = tuple(name for name in Figa.reads if name != "negative_nll_max")
    figures = (POSITIVE_NLL, BASE_KL)
    ranks_models = True

    def terms(self, predictions: Predictions) -> Terms:
        """|w| · NLL, or |w| · −log(1 − p)."""
        nll_K, weights_K = predictions.nll_K, predictions.weights_K
        probability_K = (-nll_K).exp().clamp(max=_MAX_PROBABILITY)
        term_K = nll_K.where(weights_K >= 0, -(-probability_K).log1p())
        terms = Terms((weights_K.abs() * term_K).sum(), {POSITIVE_NLL.name: positive_nll(predictions)})
        return self.held(predictions, terms)

    @classmethod
    def settled(cls, loss: "LossConfig") -> "LossConfig":
        """With no gate rather than its default: ids have had it so since the first release."""
        return super().settled(loss).model_copy(update={"negative_nll_max": None})

"""FIGA's weights with unlikelihood on the negative tokens (Welleck et al., arXiv 1908.04319)."""

from typing import TYPE_CHECKING

from figa_core.training.objectives.base import Answer, ClassTables, Objective, Predictions, Terms
from figa_core.training.objectives.edits import POSITIVE_NLL, edit_tables, positive_nll

if TYPE_CHECKING:
    from figa_core.config import LossConfig

_MAX_PROBABILITY = 1 - 1e-4


class Unlikelihood(Objective):
    """w · NLL on the positive tokens, |w| · −log(1 − p) on the negative ones (p clamped), and no gate."""

    name, label = "unlikelihood", "unlikelihood"
    answers = ("response", "revision")
    reads = ("alpha", "beta", "gamma")
    scaled = True
    figures = (POSITIVE_NLL,)

    def class_tables(self, answer: Answer, /) -> ClassTables:
        """α, β and γ by class."""
        return edit_tables(answer, self.loss)

    def terms(self, predictions: Predictions) -> Terms:
        """Likelihood up, or unlikelihood up."""
        nll_K, weights_K = predictions.nll_K, predictions.weights_K
        probability_K = (-nll_K).exp().clamp(max=_MAX_PROBABILITY)
        term_K = nll_K.where(weights_K >= 0, -(-probability_K).log1p())
        return Terms((weights_K.abs() * term_K).sum(), {POSITIVE_NLL.name: positive_nll(predictions)})

    @classmethod
    def settled(cls, loss: "LossConfig") -> "LossConfig":
        """No gate, and not its default: so it has been in ids since the first release."""
        return super().settled(loss).model_copy(update={"negative_nll_max": None})

"""Direct preference optimisation as an objective from outside.

Rafailov et al., arXiv 2305.18290, eq. 7: Ỹ is preferred to Ŷ, β is `loss.beta`.
"""

import contextlib
from collections.abc import Iterator

from torch.nn import functional

from figa_core.training.objectives import registry
from figa_core.training.objectives.base import Figure, Objective, Per, Predictions, Terms
from figa_core.training.objectives.registry import register_objective

MARGIN = Figure("reward_margin", "margin of the implicit rewards")
RIGHT = Figure("preferred_share", "share of pairs with the larger reward on Ỹ")


class Dpo(Objective):
    """−log σ(β · (log-ratio of Ỹ − log-ratio of Ŷ)), a mean over pairs."""

    name, label = "dpo", "DPO"
    answers = ("revision", "response")
    reads = ("beta",)
    per = Per.PAIR
    whole_pairs = True
    reference_log_probs = True
    figures = (MARGIN, RIGHT)

    def terms(self, predictions: Predictions) -> Terms:
        """One term a pair."""
        assert predictions.reference_log_probs_K is not None
        ratios_S = predictions.by_sequence(-predictions.nll_K - predictions.reference_log_probs_K)
        chosen_P, rejected_P = (ratios_S[predictions.places(answer)] for answer in self.answers)
        margin_P = self.loss.beta * (chosen_P - rejected_P)
        pairs, told_P = len(margin_P), margin_P.detach()
        figures = {MARGIN.name: (told_P.sum(), pairs), RIGHT.name: ((told_P > 0).sum(), pairs)}
        return Terms(-functional.logsigmoid(margin_P).sum(), figures)


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """While this is open the settings may name it; other tests take "dpo" for an unknown objective."""
    register_objective(Dpo)
    try:
        yield
    finally:
        del registry._objectives[Dpo.name]

"""Direct preference optimisation as an objective that the package does not have.

Rafailov et al., arXiv 2305.18290, eq. 7: Ỹ is preferred to Ŷ, β is `loss.beta`.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch.nn import functional

from figa_core.training.objectives import registry
from figa_core.training.objectives.base import Figure, Objective, Predictions, Terms
from figa_core.training.objectives.registry import register_objective

MARGIN = Figure("reward_margin", "margin of the implicit rewards")
RIGHT = Figure("preferred_share", "share of pairs with the larger reward on Ỹ")


class Dpo(Objective):
    """−log σ(β · (log-ratio of Ỹ − log-ratio of Ŷ)), a mean over pairs."""

    name, label = "dpo", "DPO"
    answers = ("revision", "response")
    reads = ("beta",)
    per_pair = True
    whole_pairs = True
    reference_log_probs = True
    figures = (MARGIN, RIGHT)

    def terms(self, predictions: Predictions) -> Terms:
        """One term per pair."""
        assert predictions.reference_log_probs_K is not None
        ratios_K = -predictions.nll_K - predictions.reference_log_probs_K
        ratios_S = torch.stack([values.sum() for values in ratios_K.split(list(predictions.counts))])
        order = sorted(range(len(ratios_S)), key=lambda place: predictions.pairs[place])
        chosen_P, rejected_P = (
            ratios_S[[place for place in order if predictions.answers[place] == answer]]
            for answer in self.answers
        )
        margin_P = self.loss.beta * (chosen_P - rejected_P)
        pairs, values_P = len(margin_P), margin_P.detach()
        figures = {MARGIN.name: (values_P.sum(), pairs), RIGHT.name: ((values_P > 0).sum(), pairs)}
        return Terms(-functional.logsigmoid(margin_P).sum(), figures)


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Allow "dpo" in the settings within this context; for other tests it is an unknown objective."""
    register_objective(Dpo)
    try:
        yield
    finally:
        del registry._objectives[Dpo.name]

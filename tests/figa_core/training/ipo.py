"""Identity preference optimization as an objective that the package does not have.

Azar et al., arXiv 2310.12036, eq. 17: Ỹ is preferred to Ŷ, τ is `loss.beta`.
"""

import contextlib
from collections.abc import Iterator

import torch

from figa_core.training.objectives import registry
from figa_core.training.objectives.base import Figure, Objective, Predictions, Terms
from figa_core.training.objectives.registry import register_objective

MARGIN = Figure("ratio_margin", "log-ratio of Ỹ above that of Ŷ")
RIGHT = Figure("right_share", "share of pairs with the larger log-ratio on Ỹ")


class Ipo(Objective):
    """(log-ratio of Ỹ − log-ratio of Ŷ − 1/(2τ))², a mean over pairs."""

    name, label = "ipo", "IPO"
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
        margin_P = chosen_P - rejected_P
        pairs, values_P = len(margin_P), margin_P.detach()
        figures = {MARGIN.name: (values_P.sum(), pairs), RIGHT.name: ((values_P > 0).sum(), pairs)}
        return Terms(((margin_P - 1 / (2 * self.loss.beta)) ** 2).sum(), figures)


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Allow "ipo" in the settings within this context; for other tests it is an unknown objective."""
    register_objective(Ipo)
    try:
        yield
    finally:
        del registry._objectives[Ipo.name]

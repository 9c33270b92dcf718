"""Rank responses to align language models (Yuan et al., "RRHF", arXiv 2304.05302)."""

from typing import TYPE_CHECKING

from figa_core.training.objectives.base import Figure, Objective, Predictions, Terms
from figa_core.training.objectives.sequences import means, places_by_pair, sums

if TYPE_CHECKING:
    import torch

RANKED = Figure("ranked_share", "share of pairs that the model ranks as their rewards do")
BEST_NLL = Figure("best_nll", "NLL of the answers with the highest reward")


class Rrhf(Objective):
    """Σ max(0, s_i − s_j) over candidates with R_i < R_j, plus Σ_t NLL_t of the best; a mean over pairs.

    s is the mean log-probability of an answer's tokens, R its reward. The candidates of a pair are Ŷ and Ỹ,
    in the order of their rewards in the shards. Y is none: its reward is not in the shards, and its place
    beside Ỹ would be a guess. The two parts are added without a weight, as in the paper.
    """

    name, label = "rrhf", "RRHF"
    answers = ("revision", "response")
    per_pair = True
    whole_pairs = True
    figures = (RANKED, BEST_NLL)

    def terms(self, predictions: Predictions) -> Terms:
        """One term for each pair. Of candidates with the same reward, the first in `answers` is the best."""
        scores_S, nll_S = -means(predictions.nll_K, predictions), sums(predictions.nll_K, predictions)
        loss, ranked, best_nll, best_tokens = nll_S.new_zeros(()), 0, nll_S.new_zeros(()), 0
        pairs = places_by_pair(predictions)
        for places in pairs:
            candidates = [places[answer] for answer in self.answers]
            ranking = _ranking_loss(scores_S[candidates], [predictions.rewards[c] for c in candidates])
            best = max(candidates, key=lambda candidate: predictions.rewards[candidate])
            loss = loss + ranking + nll_S[best]
            ranked += int(ranking.detach() == 0)
            best_nll, best_tokens = best_nll + nll_S[best].detach(), best_tokens + predictions.counts[best]
        figures = {RANKED.name: (ranked, len(pairs)), BEST_NLL.name: (best_nll, best_tokens)}
        return Terms(loss, figures)


def _ranking_loss(scores_C: "torch.Tensor", rewards: list[float]) -> "torch.Tensor":
    """Σ max(0, s_i − s_j) over the C candidates with R_i < R_j."""
    over_CC = (scores_C[:, None] - scores_C[None, :]).relu()
    return over_CC.masked_select(over_CC.new_tensor([[i < j for j in rewards] for i in rewards]).bool()).sum()

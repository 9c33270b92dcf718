"""What DPO, APO-zero and SimPO have in common: Ỹ is preferred to Ŷ by an implicit reward of each answer.

Shapes: P pairs of a micro-batch.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from figa_core.training.objectives.base import Figure, Objective, Predictions, Terms
from figa_core.training.objectives.sequences import of_answer, sums

if TYPE_CHECKING:
    import torch

    from figa_core.config import LossConfig

MARGIN = Figure("reward_margin", "margin of the implicit rewards")
PREFERRED = Figure("preferred_share", "share of pairs with the larger reward on Ỹ")


class Preference(Objective):
    """A mean over pairs of a loss of two implicit rewards.

    Attributes:
        own_beta: the β that "auto" stands for, from the method's paper.
    """

    answers = ("revision", "response")
    reads = ("preference_beta",)
    per_pair = True
    whole_pairs = True
    figures = (MARGIN, PREFERRED)
    own_beta: ClassVar[float] = 0.1

    @property
    def beta(self) -> float:
        """β: how much of the reward a difference in log-probability is."""
        beta = self.loss.preference_beta
        return self.own_beta if isinstance(beta, str) else beta

    @abstractmethod
    def rewards(self, predictions: Predictions) -> "tuple[torch.Tensor, torch.Tensor]":
        """The implicit rewards of Ỹ and of Ŷ, (P) each."""

    @abstractmethod
    def losses(self, chosen_P: "torch.Tensor", rejected_P: "torch.Tensor") -> "torch.Tensor":
        """The loss of each pair, (P), from the rewards of Ỹ and of Ŷ."""

    def terms(self, predictions: Predictions) -> Terms:
        """One term for each pair."""
        chosen_P, rejected_P = self.rewards(predictions)
        margin_P = (chosen_P - rejected_P).detach()
        figures = {
            MARGIN.name: (margin_P.sum(), len(margin_P)),
            PREFERRED.name: ((margin_P > 0).sum(), len(margin_P)),
        }
        return Terms(self.losses(chosen_P, rejected_P).sum(), figures)

    @classmethod
    def settled(cls, loss: "LossConfig") -> "LossConfig":
        """With β as a number, so that setting the same number by hand gives the same training."""
        return super().settled(loss).model_copy(update={"preference_beta": cls(loss).beta})


class ReferencePreference(Preference):
    """The implicit reward is β · log(π(answer) / π_ref(answer)), with the base model as the reference."""

    reference_log_probs = True

    def rewards(self, predictions: Predictions) -> "tuple[torch.Tensor, torch.Tensor]":
        """β times the log-ratio of each answer."""
        assert predictions.reference_log_probs_K is not None
        # Token by token: the sums of a long answer are large, and their difference would lose digits.
        ratios_K = -predictions.nll_K - predictions.reference_log_probs_K
        rewards_S = self.beta * sums(ratios_K, predictions)
        chosen, rejected = self.answers
        return of_answer(rewards_S, predictions, chosen), of_answer(rewards_S, predictions, rejected)

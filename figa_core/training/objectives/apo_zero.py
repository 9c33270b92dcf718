"""Anchored preference optimization (arXiv 2408.06266, eq. 7): for answers better than the model's own."""

from typing import TYPE_CHECKING

from figa_core.training.objectives.preference import ReferencePreference

if TYPE_CHECKING:
    import torch


class ApoZero(ReferencePreference):
    """1 − σ(r(Ỹ)) + σ(r(Ŷ)) with r = β · log-ratio: Ỹ becomes likelier, Ŷ less likely, each by itself.

    D'Oosterlinck et al.; their β is 0.1. They write −σ(r(Ỹ)) + σ(r(Ŷ)). With 1 added, as in TRL, the loss is
    never negative, and the gradient is the same.
    """

    name, label = "apo_zero", "APO-zero"

    def losses(self, chosen_P: "torch.Tensor", rejected_P: "torch.Tensor") -> "torch.Tensor":
        """1 where model and reference agree."""
        return (-chosen_P).sigmoid() + rejected_P.sigmoid()  # 1 − σ(x) = σ(−x), without cancellation

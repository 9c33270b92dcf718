"""Direct preference optimization (Rafailov et al., arXiv 2305.18290, eq. 7)."""

from typing import TYPE_CHECKING

from figa_core.training.objectives.preference import ReferencePreference

if TYPE_CHECKING:
    import torch


class Dpo(ReferencePreference):
    """−log σ(r(Ỹ) − r(Ŷ)) with r = β · log-ratio; the paper's β is 0.1."""

    name, label = "dpo", "DPO"

    def losses(self, chosen_P: "torch.Tensor", rejected_P: "torch.Tensor") -> "torch.Tensor":
        """log 2 where model and reference agree."""
        from torch.nn.functional import logsigmoid

        return -logsigmoid(chosen_P - rejected_P)

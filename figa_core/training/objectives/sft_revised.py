"""Supervised fine-tuning on the revisions."""

from figa_core.training.objectives.sft import Sft


class SftRevised(Sft):
    """Mean NLL of the tokens of Ỹ."""

    name, label = "sft_revised", "SFT on Ỹ"
    answers = ("revision",)

"""Activation checkpointing: a layer keeps its input only, and is run again in the backward pass.

The gradient is the same (dropout draws the same numbers again); a step costs up to a third more, for one more
forward pass. It is transformers' own, layer by layer, with PyTorch's checkpoints that need no re-entrance.
"""

from typing import Any

import torch

from figa_core.config.training import Recomputing
from figa_core.errors import TrainingError


def use_activation_checkpointing(setting: Recomputing, model: Any, device: torch.device) -> bool:
    """Switch it on if the setting says so; "auto" does on a GPU. Returns whether it is on.

    Raises:
        TrainingError: it is wanted, and the model cannot do it.
    """
    able = bool(model.supports_gradient_checkpointing)
    if setting is False or (setting == "auto" and (device.type != "cuda" or not able)):
        return False
    if not able:
        raise TrainingError(
            f"training.activation_checkpointing: transformers has none for {type(model).__name__}. Set it to "
            '"auto" or false, and lower training.tokens_per_batch if the memory is too small.'
        )
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return True

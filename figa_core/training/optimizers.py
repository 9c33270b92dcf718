"""The optimizers of a training, by their settings."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from figa_core.config.optimization import OptimizerConfig, OptimizerKind

Groups = list[dict[str, Any]]
"""Parameters with the same weight decay, as PyTorch's optimizers take them."""
OptimizerFactory = Callable[[Groups, float], torch.optim.Optimizer]


def optimizer_of(settings: OptimizerConfig) -> OptimizerFactory:
    """Makes the optimizer of these settings; it gets groups of parameters, and the learning rate."""
    return partial(_FACTORIES[settings.kind], settings)


def parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> Groups:
    """Groups for an optimizer: matrices decay; vectors, which are biases and the weights of norms, do not.

    Without decay there is one group, so that checkpoints of earlier releases fit.
    """
    every = list(parameters)
    if weight_decay == 0:
        return [{"params": every, "weight_decay": 0.0}]
    matrices = [parameter for parameter in every if len(_shape(parameter)) > 1]
    vectors = [parameter for parameter in every if len(_shape(parameter)) <= 1]
    groups = {"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}
    return [group for group in groups if group["params"]]


def _shape(parameter: nn.Parameter) -> torch.Size:
    # ZeRO-3 leaves a rank a flat part of each parameter, and the whole shape in `ds_shape`.
    return getattr(parameter, "ds_shape", parameter.shape)


def _adamw(settings: OptimizerConfig, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    """PyTorch's AdamW (arXiv 1711.05101)."""
    return torch.optim.AdamW(
        groups,
        lr=learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )


def _adamw_cpu(settings: OptimizerConfig, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    """DeepSpeed's AdamW for the CPU, with vector instructions and threads of its own."""
    from deepspeed.ops.adam import DeepSpeedCPUAdam

    return DeepSpeedCPUAdam(
        groups,
        lr=learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=0,  # the groups have theirs
        adamw_mode=True,
    )


def _adamw_8bit(settings: OptimizerConfig, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    """bitsandbytes' AdamW with moments of 8 bits; see `eight_bit.py`."""
    from bitsandbytes.optim.adamw import AdamW8bit

    return AdamW8bit(
        groups,
        lr=learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=0,  # the groups have theirs
    )


_FACTORIES: dict[OptimizerKind, Callable[..., torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw_cpu": _adamw_cpu,
    "adamw_8bit": _adamw_8bit,
}

"""LoRA: the model's weights are frozen, and small updates of some of its matrices are trained, by peft.

Hu et al., arXiv 2106.09685. The wrapped model stays the transformers model that it was, with other layers in
it; so packed rows, shared beginnings, the sparse head and activation checkpointing work as without.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from figa_core.config.optimization import ALL_LINEAR, LoraConfig
from figa_core.errors import TrainingError, one_line
from figa_core.training.model import parameters_of

_PREFIX = "base_model.model."  # of a weight's name within peft's model


@dataclass(frozen=True, slots=True)
class Lora:
    """The updates of a model: `wrapped` is peft's model, `trained` and `total` are numbers of weights, of
    the updates and of the model.
    """

    wrapped: Any
    trained: int
    total: int

    def __str__(self) -> str:
        return f"LoRA: {self.trained:,} of {self.total:,} weights ({100 * self.trained / self.total:.2g} %)"

    def write(self, directory: Path, weights: dict[str, torch.Tensor]) -> None:
        """Write adapter_config.json and adapter_model.safetensors; `weights` are those of the updates by
        their names in the transformers model. Raises OSError.
        """
        state = {_PREFIX + name: tensor for name, tensor in weights.items()}
        self.wrapped.save_pretrained(str(directory), state_dict=state, save_embedding_layers=False)
        (directory / "README.md").unlink(missing_ok=True)  # peft's model card, an empty form


def add_lora(model: Any, settings: LoraConfig, *, base: Path, seed: int) -> Lora | None:
    """Freeze the model's weights and put updates into it, drawn by the seed; None without a rank.

    `base` is the directory of the model, for the adapter's record of it. The updates are zero at first.

    Raises:
        TrainingError: `target_modules` does not fit the model.
    """
    if settings.rank is None:
        return None
    import peft

    total = parameters_of(model)
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.scaled_by,  # pyright: ignore[reportArgumentType] - any number will do
        lora_dropout=settings.dropout,
        target_modules=_targets(model, settings.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        # Tied weights, which the updates leave alone: see `_targets`.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            wrapped: Any = peft.get_peft_model(model, config)
    except ValueError as error:
        raise _does_not_fit(base, settings, one_line(error)) from error
    described = wrapped.peft_config["default"]
    described.base_model_name_or_path = str(base.resolve())
    described.target_modules = sorted(described.target_modules)  # a set, which each run writes differently
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Lora(wrapped, trained, total)


def target_problem(model: Any, settings: LoraConfig, base: Path) -> str | None:
    """Why updates cannot be put into the model, which may be one without content; None if they can."""
    try:
        add_lora(model, settings, base=base, seed=0)
    except TrainingError as error:
        return str(error)
    return None


def _targets(model: Any, names: tuple[str, ...]) -> str | list[str]:
    if names == (ALL_LINEAR,):
        return ALL_LINEAR
    ends = {
        id(module): what
        for module, what in (
            (model.get_input_embeddings(), "the embedding"),
            (model.get_output_embeddings(), "the output layer"),
        )
    }
    for name, module in model.named_modules():
        if id(module) in ends and any(name == target or name.endswith(f".{target}") for target in names):
            # peft would save the whole matrix too; and tied weights could not be merged.
            raise TrainingError(
                f"training.lora.target_modules: {name} is {ends[id(module)]}, which gets no update here. "
                "Name linear layers within the model, such as q_proj, or all-linear."
            )
    missing = [name for name in names if not _has(model, name)]
    if missing:
        raise TrainingError(
            f"training.lora.target_modules: the model has no {', '.join(missing)}. It has "
            f"{', '.join(_linear_names(model))}."
        )
    return list(names)


def _has(model: nn.Module, target: str) -> bool:
    return any(name == target or name.endswith(f".{target}") for name, _ in model.named_modules())


def _linear_names(model: nn.Module) -> list[str]:
    found = (name for name, module in model.named_modules() if type(module).__name__ in ("Linear", "Conv1D"))
    return list(dict.fromkeys(name.rpartition(".")[2] for name in found))


def _does_not_fit(base: Path, settings: LoraConfig, why: str) -> TrainingError:
    return TrainingError(
        f"training.lora.target_modules: {', '.join(settings.target_modules)} does not fit {base}: {why}"
    )

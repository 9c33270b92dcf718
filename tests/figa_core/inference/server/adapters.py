"""Adapters of a model with random updates, which change its answers."""

from pathlib import Path

import torch

from figa_core.config import LoraConfig
from figa_core.models.adapter import record_base
from figa_core.models.fingerprint import model_fingerprint
from figa_core.training.lora import add_lora
from figa_core.training.merging import merged_once
from figa_core.training.model import load_model


def random_adapter(base: Path, directory: Path, *, seed: int) -> Path:
    """An adapter of rank 2, written as a training writes it."""
    model = load_model(base)
    lora = add_lora(model, LoraConfig(rank=2), base=base, seed=0)
    assert lora is not None
    torch.manual_seed(seed)
    drawn = {
        name: torch.randn_like(weight) * 0.2
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
    lora.write(directory, drawn)
    record_base(directory, base, model_fingerprint(base))
    return directory


def merged(adapter: Path, target: Path) -> Path:
    """The whole model."""
    merged_once(adapter, target, model_fingerprint(adapter))
    return target

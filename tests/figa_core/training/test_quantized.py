"""QLoRA: what it needs, and what is in 4 bits. `test_distributed.py` has the trainings."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from figa_core.config import LoraConfig, TrainingConfig
from figa_core.errors import TrainingError
from figa_core.models.safetensors import Tensor
from figa_core.training.device_memory import Devices
from figa_core.training.launch import run_training
from figa_core.training.lora import add_lora
from figa_core.training.memory_plan import ModelShape, Setup, memory_plan, model_shape
from figa_core.training.model import load_model, load_quantized, parameters_of
from figa_core.training.quantized import cannot_quantize, not_quantizable
from tests.figa_core.training.jobs import CPU, MakeJob

QLORA = LoraConfig(rank=4, quantize=True)
ON_A_CPU, ON_A_GPU = Devices("cpu", 1, 0, 0), Devices("gpu", 1, 0, 0)


def training(lora: LoraConfig = QLORA, stage: int = 2) -> TrainingConfig:
    return TrainingConfig.model_validate({"lora": lora, "zero_stage": stage})


def test_the_linear_layers_but_the_output_are_in_four_bits_and_near_what_they_were(model_dir: Path) -> None:
    found, whole = load_quantized(model_dir, "float32", CPU), load_model(model_dir)
    layers, compared = dict(found.named_modules()), list[str]()
    for name, module in whole.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        theirs = layers[name]
        if name == "lm_head":
            assert torch.equal(theirs.weight, module.weight)
            continue
        assert theirs.weight.dtype == torch.uint8
        assert theirs.weight.numel() == module.weight.numel() / 2
        if module.in_features % 64:  # bitsandbytes on a CPU reads the scales of other widths wrongly
            continue
        compared.append(name)
        with torch.no_grad():
            error = theirs.train()(torch.eye(module.in_features)).T - module.weight
            share = float(error.norm() / module.weight.norm())
        assert 0 < share < 0.12  # about 0.09 for weights of a normal distribution
    assert len(compared) >= 10
    assert found.model.norm.weight.dtype == torch.float32


def test_weights_are_counted_as_they_were_not_as_they_are_stored(model_dir: Path) -> None:
    quantized = load_quantized(model_dir, "float32", CPU)
    assert parameters_of(quantized) == parameters_of(load_model(model_dir))
    lora = add_lora(quantized, QLORA, base=model_dir, seed=0)
    whole = add_lora(load_model(model_dir), LoraConfig(rank=4), base=model_dir, seed=0)
    assert lora is not None
    assert whole is not None
    assert (lora.trained, lora.total) == (whole.trained, whole.total)


def test_without_a_gpu_it_is_refused_before_anything_starts(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(lora=QLORA)
    with pytest.raises(TrainingError, match=r"training\.lora\.quantize: 4-bit weights need an NVIDIA GPU"):
        run_training(job, log_path=tmp_path / "log")
    assert not (tmp_path / "log").exists()


def test_a_gpu_is_enough_and_nothing_is_asked_of_other_trainings() -> None:
    assert cannot_quantize(training(), ON_A_GPU) is None
    assert cannot_quantize(training(LoraConfig(rank=4)), ON_A_CPU) is None
    assert not_quantizable(training()) is None
    assert not_quantizable(training(LoraConfig(rank=4), stage=3)) is None


def test_without_its_library_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    found = cannot_quantize(training(), ON_A_GPU)
    assert found is not None
    assert "needs the package bitsandbytes" in found


def test_zero_3_does_not_split_weights_of_four_bits() -> None:
    found = not_quantizable(training(stage=3))
    assert found is not None
    assert found.startswith("training.lora.quantize: ZeRO-3 splits the weights")


def test_the_plan_counts_four_bits_for_the_matrices_of_the_layers() -> None:
    setup = Setup(ranks=1, stage=2, dtype="bfloat16", tokens_per_batch=8, recompute=True, lora_rank=4)
    shape = ModelShape(
        parameters=9_000_000, largest=1, width=8, inner=8, vocabulary=8, layers=1, keys=8,
        quantizable=8_000_000,
    )  # fmt: skip
    whole, packed = (
        memory_plan(shape, each).device.weights for each in (setup, replace(setup, quantize=True))
    )
    assert whole - packed == pytest.approx(8_000_000 * (2 - 4.127 / 8))


def test_the_matrices_of_the_layers_are_those_without_the_vocabulary() -> None:
    sizes = {"embed": (10, 4), "head": (10, 4), "q": (4, 4), "up": (6, 4), "norm": (4,)}
    tensors = {name: Tensor(name, Path("file"), "F32", shape, 0, 0) for name, shape in sizes.items()}
    assert model_shape({"vocab_size": 10, "hidden_size": 4}, tensors).quantizable == 16 + 24

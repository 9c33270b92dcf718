"""Activations that are computed again leave the gradients as they are."""

import copy
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

from figa_core.config.training import LossConfig
from figa_core.errors import TrainingError
from figa_core.training.attention import use_packed_attention
from figa_core.training.data import PairData
from figa_core.training.objectives.registry import make_objective
from figa_core.training.recomputing import use_activation_checkpointing
from tests.figa_core.training.jobs import CPU, PlainEngine, step_of_all_ranks, write_set
from tests.figa_core.training.objectives.grouped import gradients_of
from tests.figa_core.training.small_models import MODELS, SIZES, make
from tests.figa_core.training.test_sharing import pairs_of_one_prompt

CUDA = torch.device("cuda")  # only its name is used here


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PairData:
    directory = tmp_path_factory.mktemp("set")
    write_set(directory, pairs_of_one_prompt())
    return PairData(directory)


def gradients(model: Any, data: PairData, *, recompute: bool, packing: bool) -> list[torch.Tensor]:
    copied = copy.deepcopy(model)
    assert use_activation_checkpointing(recompute, copied, CPU) is recompute
    runs: list[None] = []
    layer = next(module for module in copied.modules() if isinstance(module, GradientCheckpointingLayer))
    layer.register_forward_pre_hook(lambda *_: runs.append(None))
    torch.manual_seed(0)
    how = {"tokens_per_batch": 4096, "packing": packing, "tail_cut": True, "grain": 1 if packing else None}
    loss = make_objective(LossConfig(objective="figa", negative_nll_max=None))
    [plan], _ = step_of_all_ranks(PlainEngine(copied), data, range(len(data)), loss, 1, **how)
    assert len(runs) == len(plan.micro_batches) * (2 if recompute else 1), "a layer runs twice if recomputed"
    return gradients_of(copied)


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_the_gradients_are_the_same(name: str, packing: bool, data: PairData) -> None:
    model = make(name).train()
    if packing:
        assert use_packed_attention(model)
    kept, again = (gradients(model, data, recompute=each, packing=packing) for each in (False, True))
    largest = max(float(gradient.abs().max()) for gradient in kept)
    assert largest > 1e-3
    assert max(float((a - b).abs().max()) for a, b in zip(kept, again, strict=True)) <= 1e-6 * largest


def test_dropout_draws_the_same_numbers_again(data: PairData) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES, attention_dropout=0.5)).train()
    kept, again = (gradients(model, data, recompute=each, packing=False) for each in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


def test_by_itself_it_is_on_for_a_gpu_only() -> None:
    model = make("llama")
    assert not use_activation_checkpointing("auto", model, CPU)
    assert not use_activation_checkpointing(False, model, CUDA)
    assert not model.is_gradient_checkpointing
    assert use_activation_checkpointing("auto", model, CUDA)
    assert model.is_gradient_checkpointing


class Unable(LlamaForCausalLM):
    supports_gradient_checkpointing = False


def test_a_model_that_cannot_do_it_is_named_only_if_it_was_asked_for() -> None:
    model = Unable(LlamaConfig(**SIZES))
    assert not use_activation_checkpointing("auto", model, CUDA)
    with pytest.raises(TrainingError, match=r"activation_checkpointing: transformers has none for Unable"):
        use_activation_checkpointing(True, model, CPU)

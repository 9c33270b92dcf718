"""The plan of memory: its sums, and how it follows the settings."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.config.training import TrainingConfig
from figa_core.models.safetensors import Tensor
from figa_core.training.memory_plan import ModelShape, RankMemory, Setup, memory_plan, model_shape, setup_of

SHAPE = ModelShape(
    parameters=800_000_000,
    largest=100_000_000,
    width=2048,
    inner=8192,
    vocabulary=50_000,
    layers=16,
    keys=512,
)
SETUP = Setup(ranks=4, stage=2, dtype="bfloat16", tokens_per_batch=8192, recompute=False)


def device(shape: ModelShape = SHAPE, **changes: Any) -> RankMemory:
    return memory_plan(shape, replace(SETUP, **changes)).device


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_total_is_the_sum_of_the_parts(stage: int, dtype: str, recompute: bool) -> None:
    found = device(stage=stage, dtype=dtype, recompute=recompute)
    assert found.total == sum(getattr(found, part.name) for part in fields(found))
    assert all(getattr(found, part.name) > 0 for part in fields(found) if part.name != "update")
    assert found.least == found.weights + found.gradients + found.optimizer <= found.total


def test_one_rank_in_float32_holds_what_adamw_needs() -> None:
    """Weights 4, master 4, moments 8, gradients 4."""
    found = device(ranks=1, stage=1, dtype="float32")
    assert found.least == (4 + 4 + 8 + 4) * SHAPE.parameters


def test_moments_of_8_bits_take_a_quarter_and_their_factors() -> None:
    found = device(ranks=1, stage=1, dtype="float32", optimizer="adamw_8bit")
    assert found.optimizer == (4 + 2 + 2 * 4 / 256) * SHAPE.parameters
    assert found.least == found.optimizer + (4 + 4) * SHAPE.parameters


@pytest.mark.parametrize(("stage", "of_weight"), [(1, 20), (2, 18), (3, 18)])
def test_one_rank_in_bfloat16_holds_what_was_counted_over_the_tensors_of_a_training(
    stage: int, of_weight: int
) -> None:
    assert device(ranks=1, stage=stage).least == of_weight * SHAPE.parameters


def test_the_update_counts_where_it_takes_more_than_the_activations() -> None:
    few, many = device(tokens_per_batch=64), device(tokens_per_batch=8192)
    assert many.update == 0
    assert few.update + few.activations + few.logits == 4 * SHAPE.parameters // 4


@pytest.mark.parametrize("ranks", [2, 3, 8, 64])
def test_ranks_share_the_optimizer_and_in_later_stages_gradients_and_weights(ranks: int) -> None:
    one, more = ({stage: device(ranks=n, stage=stage) for stage in (1, 2, 3)} for n in (1, ranks))
    for stage in (1, 2, 3):
        assert more[stage].optimizer == pytest.approx(one[stage].optimizer / ranks, rel=1e-6)
        assert more[stage].activations == one[stage].activations
    assert more[2].gradients == pytest.approx(one[2].gradients / ranks, rel=1e-6)
    assert more[1].weights == more[2].weights == one[1].weights
    # What ZeRO-3 gathers is the same on any number of ranks.
    gathered = 2 * min(SHAPE.parameters, 10**9)
    assert more[3].weights - gathered == pytest.approx(one[3].weights / ranks, rel=1e-6)
    assert more[1].gradients > more[2].gradients == more[3].gradients


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tokens_per_batch", (64, 500, 8192, 100_000)),
        ("recompute", (True, False)),
        ("ranks", (64, 8, 2, 1)),
        ("stage", (2, 1)),
    ],
)
def test_more_of_it_takes_more(name: str, values: tuple[Any, ...]) -> None:
    totals = [device(**{name: value}).total for value in values]
    assert totals == sorted(totals)
    assert len(set(totals)) == len(totals)


def test_activations_and_logits_are_proportional_to_the_tokens() -> None:
    few, many = (device(tokens_per_batch=count) for count in (1000, 3000))
    assert (many.activations, many.logits) == (3 * few.activations, 3 * few.logits)


def test_what_is_offloaded_is_not_on_the_device() -> None:
    here, away = device(stage=3), memory_plan(SHAPE, replace(SETUP, stage=3, optimizer_at="host"))
    assert away.device.optimizer == 0
    assert away.host == here.optimizer
    assert away.device.gradients == here.gradients
    both = memory_plan(SHAPE, replace(SETUP, stage=3, optimizer_at="host", weights_at="disk"))
    assert (both.host, both.disk) == (here.optimizer, 2 * SHAPE.parameters // 4)


def test_on_the_cpu_what_is_offloaded_there_stays_in_the_same_memory() -> None:
    setup = replace(SETUP, stage=3, kind="cpu")
    here = memory_plan(SHAPE, setup)
    there = memory_plan(SHAPE, replace(setup, optimizer_at="host", weights_at="host"))
    assert (there.device.least, there.host) == (here.device.least, 0)


def test_zero_3_gathers_no_more_than_its_setting() -> None:
    most, few = device(stage=3), device(stage=3, live=30_000_000)
    assert most.weights - few.weights == 2 * (SHAPE.parameters - 30_000_000)


def test_the_logits_are_those_of_the_tokens_with_a_weight() -> None:
    assert device(weighted_share=0.25).logits * 4 == device().logits == device(weighted_share=1.0).logits


def test_loading_takes_a_part_and_one_weight_only_with_zero_3() -> None:
    whole = 4 * SHAPE.parameters
    assert memory_plan(SHAPE, SETUP).loading == whole
    assert memory_plan(SHAPE, replace(SETUP, rounds=True)).loading == 2 * whole
    assert memory_plan(SHAPE, replace(SETUP, stage=3)).loading == whole // 4 + 4 * SHAPE.largest


def test_weights_that_are_quantized_are_loaded_one_by_one() -> None:
    setup = replace(SETUP, lora_rank=16, quantize=True, rounds=True)
    assert memory_plan(SHAPE, setup).loading == 4 * SHAPE.largest


def test_loading_copies_only_weights_that_are_trained() -> None:
    shape = replace(SHAPE, edges=500_000)
    setup = replace(SETUP, lora_rank=16, rounds=True)
    assert memory_plan(shape, setup).loading == 4 * (shape.parameters + 16 * shape.edges)


def test_lora_holds_the_weights_and_what_adamw_needs_of_the_updates() -> None:
    shape = replace(SHAPE, edges=500_000)
    updates = 16 * shape.edges
    found = device(shape, ranks=1, stage=1, dtype="float32", lora_rank=16)
    assert found.least == 4 * (shape.parameters + updates) + (4 + 8 + 4) * updates
    assert memory_plan(shape, replace(SETUP, lora_rank=16)).checkpoint == 14 * updates


def test_the_shape_is_read_from_the_files_whatever_their_names() -> None:
    tensors = {
        name: Tensor(name, Path("file"), "F32", shape, 0, 0)
        for name, shape in {"a": (10, 4), "b": (4,)}.items()
    }
    llama = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 300}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    expected = ModelShape(
        44, 40, width=64, inner=96, vocabulary=300, layers=2, keys=32, edges=14, quantizable=40
    )
    assert model_shape({**llama, **heads}, tensors) == expected
    assert model_shape({"text_config": {**llama, **heads}}, tensors) == expected
    gpt2 = model_shape({"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 300, "n_inner": None}, tensors)
    assert gpt2 == replace(expected, inner=256, keys=64)
    experts = model_shape({**llama, **heads, "num_experts_per_tok": 2, "moe_intermediate_size": 48}, tensors)
    assert experts == expected


def test_the_settings_are_read_as_the_training_reads_them() -> None:
    training = TrainingConfig(dtype="float32", processes=1)
    on_cpu = setup_of(training, kind="cpu", checkpoint_dtype="float32")
    on_gpu = setup_of(training, kind="gpu", checkpoint_dtype="float32")
    assert (on_cpu.stage, on_cpu.recompute, on_gpu.recompute) == (1, False, True)
    assert not on_cpu.rounds
    rounded = setup_of(TrainingConfig(dtype="bfloat16"), kind="gpu", checkpoint_dtype="float32")
    assert (rounded.stage, rounded.rounds) == (2, True)
    few = setup_of(
        TrainingConfig(pairs_per_step=5, processes=2), kind="gpu", checkpoint_dtype="float32", max_length=100
    )
    assert few.tokens_per_batch == 3 * 2 * 100, "a step has no more"
    offload = {"offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "nvme"}}
    with_offload = TrainingConfig(zero_stage=3, deepspeed=DeepSpeedConfig(zero_optimization=offload))
    found = setup_of(with_offload, kind="gpu", checkpoint_dtype="bfloat16")
    assert (found.optimizer_at, found.weights_at) == ("host", "disk")
    assert (found.live, found.weighted_share) == (10**9, None)
    few_gathered = TrainingConfig(
        zero_stage=3, deepspeed=DeepSpeedConfig(zero_optimization={"stage3_max_live_parameters": 3e7})
    )
    found = setup_of(few_gathered, kind="gpu", checkpoint_dtype="bfloat16", weighted_tokens=2048)
    assert (found.live, found.weighted_share) == (30_000_000, 0.25)

"""What to change so that a training fits: the smallest change that is enough."""

from dataclasses import replace

import pytest

from figa_core.training.device_memory import Devices, gpus_of
from figa_core.training.memory_advice import advice, fits
from figa_core.training.memory_plan import ModelShape, Setup

LARGE = ModelShape(8 * 10**9, 10**9, width=4096, inner=14_336, vocabulary=128_000, layers=32, keys=1024)
SMALL = ModelShape(135 * 10**6, 28 * 10**6, width=576, inner=1536, vocabulary=49_152, layers=30, keys=192)
SETUP = Setup(ranks=1, stage=2, dtype="bfloat16", tokens_per_batch=8192, recompute=False)
GB = 10**9
OFFLOAD = 'training.deepspeed.zero_optimization.offload_optimizer = { device = "cpu" }'


@pytest.mark.parametrize("shape", [LARGE, SMALL])
@pytest.mark.parametrize("ranks", [1, 2, 8])
@pytest.mark.parametrize("gigabytes", [4, 12, 24, 80, 140])
def test_what_is_advised_fits(shape: ModelShape, ranks: int, gigabytes: int) -> None:
    setup = replace(SETUP, ranks=ranks)
    found = advice(shape, setup, gpus_of(gigabytes, 8))
    if found is not None:
        assert fits(shape, found.setup, gpus_of(gigabytes, 8))
        assert found.words


def test_activations_are_computed_again_before_anything_else_is_changed() -> None:
    found = advice(SMALL, SETUP, gpus_of(14, 8))
    assert not fits(SMALL, SETUP, gpus_of(14, 8))
    assert found is not None
    assert found.words == ("training.activation_checkpointing = true",)


def test_fewer_tokens_if_the_activations_are_computed_again_already() -> None:
    found = advice(SMALL, replace(SETUP, recompute=True), gpus_of(5, 8))
    assert found is not None
    (words,) = found.words
    assert words.startswith("training.tokens_per_batch = ")
    assert not fits(
        SMALL, replace(found.setup, tokens_per_batch=2 * found.setup.tokens_per_batch), gpus_of(5, 8)
    )


def test_a_model_that_is_too_large_for_one_gpu_gets_more_ranks() -> None:
    found = advice(LARGE, replace(SETUP, recompute=True), gpus_of(80, 8))
    assert found is not None
    assert found.setup.stage == 3 or found.setup.optimizer_at == "host"
    alone = advice(LARGE, replace(SETUP, recompute=True, optimizer_at="host"), gpus_of(24, 8))
    assert alone is not None
    assert alone.setup.ranks > 1
    assert f"training.processes = {alone.setup.ranks}" in alone.words


def test_more_ranks_are_advised_for_each_node() -> None:
    found = advice(
        LARGE, replace(SETUP, recompute=True, ranks=4, nodes=2, optimizer_at="host"), gpus_of(24, 8)
    )
    assert found is not None
    assert found.setup.ranks > 4
    assert f"training.processes = {found.setup.ranks // 2}" in found.words


def test_no_advice_where_nothing_is_enough() -> None:
    assert advice(LARGE, SETUP, gpus_of(1, 8)) is None
    assert advice(LARGE, replace(SETUP, kind="cpu"), Devices("cpu", 1, 8 * GB, 8 * GB)) is None


def machine(gigabytes: int, host: int) -> Devices:
    """With eight GPUs."""
    return replace(gpus_of(gigabytes, 8), host_total=host * GB, host_free=host * GB)


def test_an_offload_is_advised_only_to_a_machine_that_has_the_memory() -> None:
    setup = replace(SETUP, recompute=True, tokens_per_batch=256, ranks=8, stage=3)
    enough = advice(LARGE, setup, machine(32, 500))
    assert enough is not None
    assert enough.words == (OFFLOAD,)
    short = advice(LARGE, setup, machine(32, 90))
    assert short is None or short.setup.optimizer_at == "device"


def test_a_machine_that_cannot_hold_the_offloaded_optimizer_is_told_to_keep_it_on_its_gpus() -> None:
    offloaded = replace(SETUP, recompute=True, ranks=8, stage=3, optimizer_at="host")
    found = advice(LARGE, offloaded, machine(140, 90))
    assert found is not None
    assert found.words == ("no training.deepspeed.zero_optimization.offload_optimizer",)
    assert advice(LARGE, replace(offloaded, optimizer="adamw_cpu"), machine(140, 90)) is None


def test_a_model_that_every_rank_loads_whole_is_partitioned_where_the_machine_cannot_hold_that() -> None:
    setup = replace(SETUP, recompute=True, ranks=8, rounds=True)
    found = advice(LARGE, setup, machine(140, 200))
    assert found is not None
    assert found.words == ("training.zero_stage = 3",)

"""What to change so that a training fits: the smallest change that is enough."""

from dataclasses import replace

import pytest

from figa_core.training.memory_advice import advice, fits
from figa_core.training.memory_plan import ModelShape, Setup

LARGE = ModelShape(8 * 10**9, 10**9, width=4096, inner=14_336, vocabulary=128_000, layers=32, keys=1024)
SMALL = ModelShape(135 * 10**6, 28 * 10**6, width=576, inner=1536, vocabulary=49_152, layers=30, keys=192)
SETUP = Setup(ranks=1, stage=2, dtype="bfloat16", tokens_per_batch=8192, recompute=False)
GB = 10**9


@pytest.mark.parametrize("shape", [LARGE, SMALL])
@pytest.mark.parametrize("ranks", [1, 2, 8])
@pytest.mark.parametrize("gigabytes", [4, 12, 24, 80, 140])
def test_what_is_advised_fits(shape: ModelShape, ranks: int, gigabytes: int) -> None:
    setup = replace(SETUP, ranks=ranks)
    found = advice(shape, setup, gigabytes * GB)
    if found is not None:
        assert fits(shape, found.setup, gigabytes * GB)
        assert found.words


def test_activations_are_computed_again_before_anything_else_is_changed() -> None:
    found = advice(SMALL, SETUP, 14 * GB)
    assert not fits(SMALL, SETUP, 14 * GB)
    assert found is not None
    assert found.words == ("training.activation_checkpointing = true",)


def test_fewer_tokens_if_the_activations_are_computed_again_already() -> None:
    found = advice(SMALL, replace(SETUP, recompute=True), 5 * GB)
    assert found is not None
    (words,) = found.words
    assert words.startswith("training.tokens_per_batch = ")
    assert not fits(SMALL, replace(found.setup, tokens_per_batch=2 * found.setup.tokens_per_batch), 5 * GB)


def test_a_model_that_is_too_large_for_one_gpu_gets_more_ranks() -> None:
    found = advice(LARGE, replace(SETUP, recompute=True), 80 * GB)
    assert found is not None
    assert found.setup.stage == 3 or found.setup.optimizer_at == "host"
    alone = advice(LARGE, replace(SETUP, recompute=True, optimizer_at="host"), 24 * GB)
    assert alone is not None
    assert alone.setup.ranks > 1
    assert f"training.processes = {alone.setup.ranks}" in alone.words


def test_more_ranks_are_advised_for_each_node() -> None:
    found = advice(LARGE, replace(SETUP, recompute=True, ranks=4, nodes=2, optimizer_at="host"), 24 * GB)
    assert found is not None
    assert found.setup.ranks > 4
    assert f"training.processes = {found.setup.ranks // 2}" in found.words


def test_no_advice_where_nothing_is_enough() -> None:
    assert advice(LARGE, SETUP, GB) is None
    assert advice(LARGE, replace(SETUP, kind="cpu"), 8 * GB) is None

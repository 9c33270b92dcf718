"""The pairs of a step and their grouping; packed or padded, the gradient is the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from figa_core.config.training import LossConfig
from figa_core.records import EditClass, WeighedPair
from figa_core.training import batches
from figa_core.training.batches import (
    StepPlan,
    deal,
    drawn_pairs,
    group_packed,
    group_rows,
    plan_step,
    step_pairs,
    steps_per_epoch,
)
from figa_core.training.data import PairData, TrainingSequence
from figa_core.training.loop import accumulate
from figa_core.training.objectives.base import Objective
from figa_core.training.objectives.registry import make_objective
from tests.figa_core.training.jobs import PlainEngine


def objective(name: str, **settings: Any) -> Objective:
    return make_objective(LossConfig(objective=name, **settings))


FIGA = objective("figa", alpha=1.0, beta=0.5, gamma=0.0, negative_nll_max=0.6)
UNGATED = objective("figa", negative_nll_max=None)
FIGA_GAMMA = objective("figa", alpha=1.0, beta=0.5, gamma=0.1, negative_nll_max=None)


@pytest.fixture
def data(shards_dir: Path) -> PairData:
    return PairData(shards_dir)


def plan(data: PairData, settings: Objective = FIGA, *, pairs: range = range(9), **changes: Any) -> StepPlan:
    how = {"rank": 0, "ranks": 1, "tokens_per_batch": 70, "packing": False, "tail_cut": True}
    return plan_step(data, pairs, settings, **(how | changes))


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 5))
def test_every_epoch_takes_every_pair_once_and_only_its_last_step_is_smaller(
    pairs: int, pairs_per_step: int, seed: int
) -> None:
    each = steps_per_epoch(pairs, pairs_per_step)
    for epoch in range(3):
        steps = [
            step_pairs(number, pairs=pairs, pairs_per_step=pairs_per_step, seed=seed)
            for number in range(epoch * each + 1, (epoch + 1) * each + 1)
        ]
        assert sorted(pair for step in steps for pair in step) == list(range(pairs))
        assert {len(step) for step in steps[:-1]} <= {pairs_per_step}
        assert 1 <= len(steps[-1]) <= pairs_per_step


def test_four_pairs_with_steps_of_128_make_a_step_of_four() -> None:
    assert sorted(step_pairs(3, pairs=4, pairs_per_step=128, seed=0)) == [0, 1, 2, 3]


def test_epochs_differ_and_the_same_seed_gives_the_same_epoch() -> None:
    def epoch(number: int, seed: int) -> tuple[int, ...]:
        return step_pairs(number, pairs=50, pairs_per_step=50, seed=seed)

    assert epoch(1, 0) == epoch(1, 0)
    assert len({epoch(1, 0), epoch(2, 0), epoch(1, 1)}) == 3


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 8))
def test_pairs_are_dealt_once_and_evenly(lengths: list[int], ranks: int) -> None:
    shares = deal(lengths, ranks)
    assert sorted(index for share in shares for index in share) == list(range(len(lengths)))
    loads = [sum(lengths[index] for index in share) for share in shares]
    assert max(loads) - min(loads) <= max(lengths, default=0)


def sequence_of(length: int) -> TrainingSequence:
    empty = np.zeros(0, dtype=np.int64)
    return TrainingSequence(
        0, "revision", np.zeros(length, dtype=np.int64), empty, empty, empty.astype(np.float32)
    )


@given(st.lists(st.integers(1, 64), max_size=30), st.integers(64, 300))
def test_groups_hold_every_sequence_within_the_budget(lengths: list[int], budget: int) -> None:
    units = [(sequence_of(length),) for length in lengths]
    for grouped, cost in (
        (group_rows(units, budget), lambda sizes: len(sizes) * max(sizes)),
        (group_packed(units, budget), sum),
    ):
        sizes = [[len(s.inputs_T) for s in group] for group in grouped]
        assert sorted(size for group in sizes for size in group) == sorted(lengths)
        assert all(cost(group) <= budget for group in sizes)


def padded_cost(lengths: list[int], budget: int) -> float:
    """The lowest cost of all ways to cut the sorted lengths, tried one by one."""
    ordered = sorted(lengths, reverse=True)
    if not ordered:
        return 0
    return min(
        end * ordered[0] + batches._GROUP_TOKENS + padded_cost(ordered[end:], budget)
        for end in range(1, len(ordered) + 1)
        if end == 1 or end * ordered[0] <= budget
    )


@given(st.lists(st.integers(1, 900), max_size=9), st.integers(100, 4000))
def test_rows_are_grouped_with_the_least_padding_possible(lengths: list[int], budget: int) -> None:
    groups = [[len(s.inputs_T) for s in g] for g in group_rows([(sequence_of(n),) for n in lengths], budget)]
    found = sum(len(group) * max(group) + batches._GROUP_TOKENS for group in groups)
    assert found == padded_cost(lengths, budget)


def test_n_counts_the_tokens_whose_class_carries_alpha_or_beta(
    data: PairData, pairs: list[WeighedPair]
) -> None:
    edited = {EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.DELETED}
    expected = sum(
        sum(c in edited for c in pair.response_classes)
        + sum(c in edited | {EditClass.END_OF_TURN} for c in pair.revision_classes)
        for pair in pairs[:9]
    )
    without_beta = objective("figa", alpha=1.0, beta=0.0, gamma=0.0, negative_nll_max=None)
    assert (
        plan(data).counted == plan(data, FIGA_GAMMA).counted == plan(data, without_beta).counted == expected
    )


def test_sft_counts_target_tokens(data: PairData, pairs: list[WeighedPair]) -> None:
    zeros: dict[str, Any] = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0, "negative_nll_max": None}
    on_reference, on_revision = (plan(data, objective(name, **zeros)) for name in ("sft", "sft_revised"))
    assert on_reference.counted == on_reference.weighted == sum(len(pair.reference_ids) for pair in pairs[:9])
    assert on_revision.counted == on_revision.weighted == sum(len(pair.revision_ids) for pair in pairs[:9])


def test_all_ranks_agree_and_run_the_same_number_of_micro_batches(data: PairData) -> None:
    plans = [plan(data, pairs=range(5), rank=rank, ranks=3) for rank in range(3)]
    assert len({(p.counted, p.weighted, p.tokens, len(p.micro_batches)) for p in plans}) == 1
    assert (
        sum(int(np.count_nonzero(b.weights_K)) for p in plans for b in p.micro_batches) == plans[0].weighted
    )
    assert {pair for p in plans for b in p.micro_batches for pair in b.pairs} == set(range(5))


def test_a_step_without_any_weight_has_no_micro_batches(data: PairData) -> None:
    nothing = objective("figa", alpha=0.0, beta=0.0, gamma=0.0, negative_nll_max=None)
    empty = plan(data, nothing)
    assert (empty.weighted, empty.micro_batches) == (0, ())


def test_a_step_of_no_pairs_is_refused(data: PairData) -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        plan(data, pairs=range(0))


def weights_of(step: StepPlan) -> dict[int, float]:
    """Σ |w| by pair."""
    sums: dict[int, float] = {}
    for batch in step.micro_batches:
        starts = np.flatnonzero(batch.position_ids_BT == 0) if batch.position_ids_BT is not None else None
        for row, column, weight in zip(batch.rows_K, batch.columns_K, batch.weights_K, strict=True):
            place = row if starts is None else np.searchsorted(starts, column, side="right") - 1
            pair = batch.pairs[place]
            sums[pair] = sums.get(pair, 0.0) + abs(float(weight))
    return sums


@pytest.mark.parametrize("packing", [False, True])
def test_a_pairs_weights_are_multiplied_by_its_scale_over_the_mean_of_the_data_set(
    data: PairData, pairs: list[WeighedPair], packing: bool
) -> None:
    mean = sum(pair.scale for pair in pairs) / len(pairs)
    assert {pair.scale / mean for pair in pairs} == {0.5, 1.0, 1.5}
    expected = {
        index: pair.scale
        / mean
        * (
            0.5 * sum(c in (EditClass.DELETED, EditClass.SUBSTITUTED) for c in pair.response_classes)
            + sum(c != EditClass.KEPT for c in pair.revision_classes)
        )
        for index, pair in enumerate(pairs[:9])
    }
    assert weights_of(plan(data, packing=packing)) == pytest.approx(expected)
    sft = objective("sft_revised", alpha=1.0, beta=0.5, gamma=0.0, negative_nll_max=None)
    assert weights_of(plan(data, sft)) == {i: len(pair.revision_ids) for i, pair in enumerate(pairs[:9])}


def test_both_answers_of_a_pair_are_in_the_same_step(data: PairData) -> None:
    step = plan(data, tail_cut=False)
    found = [pair for batch in step.micro_batches for pair in batch.pairs]
    assert sorted(found) == sorted([*range(9), *range(9)])


def test_plans_are_the_same_every_time(data: PairData) -> None:
    first, again = plan(data, packing=True), plan(data, packing=True)
    for one, other in zip(first.micro_batches, again.micro_batches, strict=True):
        np.testing.assert_array_equal(one.ids_BT, other.ids_BT)
        np.testing.assert_array_equal(one.weights_K, other.weights_K)


def test_the_tail_cut_runs_fewer_tokens(data: PairData) -> None:
    assert plan(data).tokens < plan(data, tail_cut=False).tokens
    assert plan(data).weighted == plan(data, tail_cut=False).weighted


def gradients(model_dir: Path, step: StepPlan, *, sparse_head: bool) -> list[torch.Tensor]:
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float64)
    engine = PlainEngine(model, sparse_head=sparse_head)
    accumulate(engine, step.micro_batches, UNGATED, step.counted)
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("settings", [FIGA, FIGA_GAMMA], ids=["gamma 0", "gamma 0.1"])
@pytest.mark.parametrize(
    ("changes", "sparse_head"),
    [
        ({"packing": True}, True),
        ({"tokens_per_batch": 4096}, True),
        ({"packing": True, "tokens_per_batch": 4096}, False),
        ({"tail_cut": False}, True),
        ({"tail_cut": False, "packing": True}, True),
    ],
    ids=["packed", "one batch", "packed in one row, full head", "uncut", "packed uncut"],
)
def test_levers_do_not_change_the_gradient(
    settings: Objective, changes: dict[str, Any], sparse_head: bool, model_dir: Path, data: PairData
) -> None:
    expected = gradients(model_dir, plan(data, settings, tokens_per_batch=36), sparse_head=False)
    found = gradients(model_dir, plan(data, settings, **changes), sparse_head=sparse_head)
    largest = max(float(gradient.abs().max()) for gradient in expected)
    # The model norms and rotates in fp32 whatever its dtype, so fp64 is not exact to its last digit.
    assert all(float((a - b).abs().max()) <= 1e-6 * largest for a, b in zip(found, expected, strict=True))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_drawn_pairs_are_distinct_and_more_of_them_include_the_fewer(
    pairs: int, limit: int, seed: int
) -> None:
    fewer = drawn_pairs(limit, pairs=pairs, seed=seed).tolist()
    more = drawn_pairs(limit + 1, pairs=pairs, seed=seed).tolist()
    assert fewer == sorted(set(fewer))
    assert len(fewer) == min(limit, pairs)
    assert set(fewer) <= set(more) <= set(range(pairs))


def test_another_seed_draws_other_pairs() -> None:
    one, other = (drawn_pairs(10, pairs=1000, seed=seed).tolist() for seed in (0, 1))
    assert one != other

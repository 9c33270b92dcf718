"""A beginning that answers share is run once, and loss and gradients stay those of each answer by itself."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from figa_core.config.training import LossConfig, PrefixSharing
from figa_core.records import EditClass, WeighedPair
from figa_core.training import reference_log_probs
from figa_core.training.attention import use_packed_attention
from figa_core.training.batches import StepPlan, plan_step
from figa_core.training.data import PairData
from figa_core.training.objectives.base import Terms
from figa_core.training.objectives.registry import make_objective
from figa_core.training.reference_pass import run_pass
from figa_core.training.sharing import has_dropout, problem_with_model, reason_against
from figa_core.weighting.alignment import edit_classes
from tests.figa_core.training.jobs import PlainEngine, step_of_all_ranks, write_set
from tests.figa_core.training.objectives.grouped import gradients_of, run_step
from tests.figa_core.training.small_models import MODELS, SIZES, VOCABULARY, make

END = 1
# Response and revision, by what they have in common at their beginning.
ANSWERS: dict[str, tuple[list[int], list[int]]] = {
    "nothing": ([2, 3, 4, 5], [6, 7, 8, 5]),
    "one token": ([9, 3, 4], [9, 7, 3, 4]),
    "many": ([*range(10, 25), 30, 31, 32], [*range(10, 25), 40, 31, 32]),
    "the whole response": ([*range(10, 20)], [*range(10, 20), 41, 42]),
    "the whole revision": ([*range(10, 20), 43, 44], [*range(10, 20)]),
    "equal": ([12, 13, 14, 15, 16], [12, 13, 14, 15, 16]),
}


def pair_of(name: str, prompt: list[int], response: list[int], revision: list[int]) -> WeighedPair:
    old, new = edit_classes(response, revision)
    end = (int(EditClass.END_OF_TURN),)
    ids = (*response, END), old + end, (*revision, END), new + end
    return WeighedPair(name, tuple(prompt), *ids, (), 0.0, 1.0)


def pairs_of_one_prompt() -> list[WeighedPair]:
    """And one of another prompt."""
    prompt = [3, 50, 4, 51, 5]
    made = [pair_of(name, prompt, *answers) for name, answers in ANSWERS.items()]
    return [*made, pair_of("another prompt", [8, 9], *ANSWERS["many"])]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PairData:
    directory = tmp_path_factory.mktemp("set")
    write_set(directory, pairs_of_one_prompt())
    return PairData(directory)


def step(
    model: Any, data: PairData, loss: LossConfig, *, grain: int | None, packing: bool = True, **how: Any
) -> tuple[list[StepPlan], list[Terms], list[torch.Tensor]]:
    """Plans, terms and gradients of a step of all pairs, on one rank."""
    copied = copy.deepcopy(model)
    objective = make_objective(loss)
    settings = {"tokens_per_batch": 4096, "packing": packing, "tail_cut": True, "grain": grain} | how
    found = step_of_all_ranks(PlainEngine(copied), data, range(len(data)), objective, 1, **settings)
    return *found, gradients_of(copied)


def assert_equal_to(found: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float) -> None:
    largest = max(float(gradient.abs().max()) for gradient in expected)
    assert largest > 1e-3
    difference = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
    assert difference <= tolerance * largest


FIGA = LossConfig(objective="figa", negative_nll_max=None)


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_without_sharing(name: str, data: PairData) -> None:
    model = make(name).train()
    padded = step(model, data, FIGA, grain=None, packing=False)
    assert use_packed_attention(model)
    assert reason_against("auto", model, packs=True) is None
    packed, shared = (step(model, data, FIGA, grain=grain) for grain in (None, 1))

    (before,), (after,) = packed[0], shared[0]
    assert after.tokens < 0.6 * before.tokens
    assert sum(batch.ids_BT.size for batch in after.micro_batches) == after.tokens
    assert (after.counted, after.weighted) == (before.counted, before.weighted)
    losses = [sum(float(terms.loss) for terms in found[1]) for found in (padded, packed, shared)]
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)
    assert_equal_to(shared[2], packed[2], 1e-5)
    assert_equal_to(shared[2], padded[2], 1e-5)


@pytest.mark.parametrize("grain", [1, 2, 4, 16])
@pytest.mark.parametrize("budget", [45, 90, 4096])
def test_neither_grain_nor_budget_changes_the_gradient(data: PairData, grain: int, budget: int) -> None:
    model = make("mistral with a sliding window")
    assert use_packed_attention(model)
    (before,), _, expected = step(model, data, FIGA, grain=None, tokens_per_batch=budget)
    (after,), _, found = step(model, data, FIGA, grain=grain, tokens_per_batch=budget)
    assert after.tokens <= before.tokens
    assert all(batch.ids_BT.size <= budget for batch in after.micro_batches)
    assert_equal_to(found, expected, 1e-5)


@pytest.mark.parametrize("objective", ["dpo", "simpo", "rrhf", "coh", "sft_revised", "unlikelihood"])
def test_every_kind_of_objective_has_its_gradient(objective: str) -> None:
    """Whole pairs, a reference model's log-probabilities, chains of answers, and tokens by themselves."""
    reference, loss = make("llama"), LossConfig(objective=objective)

    def found(grain: int | None) -> Any:
        model = make("gpt-2")
        assert use_packed_attention(model)
        return run_step(model, reference, pairs_of_one_prompt(), loss, packing=True, grain=grain)

    alone, together = found(None), found(1)
    assert together.plans[0].tokens < 0.8 * alone.plans[0].tokens
    assert together.loss == pytest.approx(alone.loss, rel=1e-5)
    assert_equal_to(together.gradients, alone.gradients, 1e-5)


def test_a_token_after_a_branching_point_is_predicted_once_for_each_branch(data: PairData) -> None:
    """Both from the last token that the branches share: one place of the row, two targets."""
    how: dict[str, Any] = {"rank": 0, "ranks": 1, "packing": True, "tail_cut": True, "grain": 1}
    many = next(index for index in range(len(data)) if data.pair_id(index) == "many")
    plan = plan_step(data, [many], make_objective(FIGA), tokens_per_batch=4096, **how)
    (batch,) = plan.micro_batches
    places, counts = np.unique(batch.columns_K, return_counts=True)
    (branching,) = places[counts == 2]
    assert batch.ids_BT[0, branching] == 24  # the last token that both answers share
    found = {
        int(target): float(weight)
        for target, weight, place in zip(batch.targets_K, batch.weights_K, batch.columns_K, strict=True)
        if place == branching
    }
    assert found == {30: -FIGA.beta, 40: FIGA.alpha}


def tokens_run(tokens: list[int]) -> Any:
    """Adds the number of tokens of each forward pass of any model."""

    def count(module: torch.nn.Module, arguments: Any) -> None:
        if isinstance(module, torch.nn.Embedding):
            tokens.append(arguments[0].numel())

    return torch.nn.modules.module.register_module_forward_pre_hook(count)


def test_a_reference_model_says_the_same_and_the_divergence_from_it_has_the_same_gradient(
    tmp_path: Path,
) -> None:
    make("qwen 3").save_pretrained(tmp_path / "model")
    prompt = [*range(3, 35)]
    write_set(tmp_path / "set", [pair_of(name, prompt, *answers) for name, answers in ANSWERS.items()])
    tokens: dict[bool, list[int]] = {False: [], True: []}
    tables: dict[bool, Any] = {}
    for sharing, run in tokens.items():
        output = tmp_path / f"log-probs-{sharing}"
        counting = tokens_run(run)
        run_pass(tmp_path / "model", tmp_path / "set", output, ("response", "revision"), 256, 8, sharing)
        counting.remove()
        tables[sharing] = reference_log_probs.read(output)
    assert sum(tokens[True]) < 0.6 * sum(tokens[False])
    for name in tables[False].schema.names[1:]:
        found, expected = (
            tables[sharing].column(name).combine_chunks().flatten() for sharing in (True, False)
        )
        assert found.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)

    data = PairData(tmp_path / "set", tmp_path / "log-probs-True")
    model = make("llama")
    assert use_packed_attention(model)
    held = LossConfig(objective="figa", negative_nll_max=None, kl_weight=0.7)
    before, after = (step(model, data, held, grain=grain) for grain in (None, 16))
    assert after[0][0].tokens < 0.6 * before[0][0].tokens
    assert_equal_to(after[2], before[2], 1e-5)


def test_padded_rows_share_nothing(data: PairData) -> None:
    model = make("llama")
    (with_grain,), _, found = step(model, data, FIGA, grain=1, packing=False)
    (without,), _, expected = step(model, data, FIGA, grain=None, packing=False)
    assert with_grain.tokens == without.tokens
    assert all(batch.piece_parents is None for batch in with_grain.micro_batches)
    assert_equal_to(found, expected, 0.0)


def test_dropout_speaks_against_sharing_unless_it_is_wanted() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SIZES, attention_dropout=0.1))
    layer = torch.nn.Sequential(torch.nn.Dropout(0.1))
    assert (has_dropout(model), has_dropout(layer), has_dropout(make("gpt-2"))) == (True, True, False)
    assert use_packed_attention(model)
    assert reason_against("auto", model, packs=True) == "it would share the model's dropout too"
    assert reason_against(True, model, packs=True) is None


def test_it_can_be_switched_off() -> None:
    assert reason_against(False, make("llama"), packs=True) == "training.prefix_sharing is off"


OTHERS: dict[str, Callable[[], Any]] = {
    "attention that cannot be replaced": lambda: BloomForCausalLM(
        BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=1, n_head=2)
    ),
    "attention sinks": lambda: GptOssForCausalLM(
        GptOssConfig(**SIZES, head_dim=16, num_local_experts=2, num_experts_per_tok=1)
    ),
    "a state": lambda: MambaForCausalLM(
        MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, state_size=4)
    ),
    "attention in chunks": lambda: Llama4ForCausalLM(
        Llama4TextConfig(**SIZES, head_dim=16, num_local_experts=2, attention_chunk_size=4)
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("setting", ["auto", True])
def test_models_that_cannot_be_packed_share_nothing(name: str, setting: PrefixSharing) -> None:
    model = OTHERS[name]()
    packs = use_packed_attention(model)
    assert not packs
    assert reason_against(setting, model, packs=packs) == "only packed rows can do that"


class MovesOn(LlamaForCausalLM):
    """Its tokens know their place in the row, whatever their position."""

    def forward(self, input_ids: Any, position_ids: Any = None, **arguments: Any) -> Any:  # type: ignore[override]
        starts = (position_ids[0] == 0).nonzero()[:, 0]
        after = torch.arange(input_ids.shape[1]) - starts[(position_ids[0] == 0).cumsum(0) - 1]
        return super().forward(input_ids=input_ids, position_ids=after[None], **arguments)


def test_a_model_whose_outputs_would_change_is_run_without_sharing() -> None:
    model = MovesOn(LlamaConfig(**SIZES))
    assert use_packed_attention(model)
    assert problem_with_model(model) == "the model's outputs would change"

"""The whole path from shards to gradient against the oracle, over random pairs, weights and groupings."""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import GPT2LMHeadModel

from figa_core.config.training import LossConfig
from figa_core.records import EditClass, WeighedPair
from figa_core.training.attention import use_packed_attention
from figa_core.training.data import PairData
from figa_core.training.objectives.registry import make_objective
from tests.figa_core.training.gpt2 import small_gpt2
from tests.figa_core.training.jobs import PlainEngine, step_of_all_ranks, write_set
from tests.figa_core.training.oracle import Oracle, Settings, oracle

VOCABULARY = 13
TOLERANCE = 1e-10
RESPONSE = [EditClass.KEPT, EditClass.DELETED, EditClass.SUBSTITUTED]
REVISION = [EditClass.KEPT, EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.UNIMPORTANT]

token = st.integers(0, VOCABULARY - 1)
weight = st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])


@cache
def model() -> GPT2LMHeadModel:
    """In fp64 throughout, and far from uniform, so that NLLs are on both sides of the gate."""
    return small_gpt2(0, vocab_size=VOCABULARY, n_embd=8, n_layer=2, initializer_range=0.7).double()


@st.composite
def answers(draw: st.DrawFn, classes: list[EditClass]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids and classes, with or without an end of turn."""
    ids = draw(st.lists(token, max_size=9))
    edits = [int(draw(st.sampled_from(classes))) for _ in ids]
    if draw(st.booleans()):
        return (*ids, 0), (*edits, int(EditClass.END_OF_TURN))
    return tuple(ids), tuple(edits)


@st.composite
def pair_lists(draw: st.DrawFn) -> list[WeighedPair]:
    pairs: list[WeighedPair] = []
    prompts = draw(st.lists(st.lists(token, min_size=1, max_size=6).map(tuple), min_size=1, max_size=3))
    for index in range(draw(st.integers(1, 5))):
        response, revision = draw(answers(RESPONSE)), draw(answers(REVISION))
        pairs.append(
            WeighedPair(
                pair_id=f"pair-{index}",
                prompt_ids=draw(st.sampled_from(prompts)),
                response_ids=response[0],
                response_classes=response[1],
                revision_ids=revision[0],
                revision_classes=revision[1],
                reference_ids=tuple(draw(st.lists(token, max_size=6))),
                response_reward=0.0,
                revision_reward=1.0,
                scale=draw(st.sampled_from([0.25, 1.0, 2.0])),
                revision_factors=draw(st.none() | factors_of(revision[1])),
            )
        )
    return pairs


def factors_of(classes: Sequence[int]) -> st.SearchStrategy[tuple[float, ...]]:
    """An LLM's grades of the edited tokens, and 1 for the others."""
    graded = st.sampled_from([0.2, 0.4, 0.6, 0.8, 1.0])
    return st.tuples(
        *(
            graded if value in (EditClass.INSERTED, EditClass.SUBSTITUTED) else st.just(1.0)
            for value in classes
        )
    )


@dataclass(frozen=True)
class Grouping:
    """Settings that must not change the gradient."""

    ranks: int
    tokens_per_batch: int
    packing: bool
    grain: int | None
    packed_attention: bool
    tail_cut: bool
    sparse_head: bool


groupings = st.builds(
    Grouping,
    ranks=st.integers(1, 3),
    tokens_per_batch=st.sampled_from([16, 40, 4096]),
    grain=st.sampled_from([None, 1, 3]),
)
all_settings = st.builds(
    Settings,
    objective=st.sampled_from(["figa", "sft", "sft_revised", "unlikelihood"]),
    alpha=weight,
    beta=weight,
    gamma=weight,
    gate=st.sampled_from([None, 0.6, 2.0]),
)


def gradients_of(module: torch.nn.Module) -> list[torch.Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]


def run_ours(
    pairs: Sequence[WeighedPair], settings: Settings, grouping: Grouping
) -> tuple[float, int, list[torch.Tensor]]:
    """Loss, N and gradients of one optimizer step."""
    with tempfile.TemporaryDirectory() as directory:
        write_set(Path(directory), pairs, pairs_per_shard=2)
        data = PairData(Path(directory))
    ours = make_objective(
        LossConfig(
            objective=settings.objective,
            alpha=settings.alpha,
            beta=settings.beta,
            gamma=settings.gamma,
            negative_nll_max=settings.gate,
        )
    )
    copied = copy.deepcopy(model())
    if grouping.packed_attention:
        assert use_packed_attention(copied)
    engine = PlainEngine(copied, sparse_head=grouping.sparse_head)
    plans, terms = step_of_all_ranks(
        engine,
        data,
        range(len(pairs)),
        ours,
        grouping.ranks,
        tokens_per_batch=grouping.tokens_per_batch,
        packing=grouping.packing,
        grain=grouping.grain if grouping.packed_attention else None,
        tail_cut=grouping.tail_cut,
    )
    counted = plans[0].counted
    return sum(float(one.loss) for one in terms) / max(counted, 1), counted, gradients_of(copied)


def run_oracle(pairs: Sequence[WeighedPair], settings: Settings) -> tuple[Oracle, list[torch.Tensor]]:
    module = copy.deepcopy(model())
    expected = oracle(module, pairs, settings, sum(pair.scale for pair in pairs) / len(pairs))
    if expected.loss.requires_grad:
        expected.loss.backward()
    return expected, gradients_of(module)


@hypothesis_settings(max_examples=75, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(pair_lists(), all_settings, groupings)
def test_loss_n_and_gradient_are_the_formulas_however_the_step_is_grouped(
    pairs: list[WeighedPair], settings: Settings, grouping: Grouping
) -> None:
    expected, gradients = run_oracle(pairs, settings)
    assume(expected.nearest_to_gate > 1e-3)
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    event(f"{settings.objective}, {'some' if largest else 'no'} gradient")

    loss, counted, found = run_ours(pairs, settings, grouping)

    assert counted == expected.counted
    assert loss == pytest.approx(float(expected.loss.detach()), rel=TOLERANCE, abs=TOLERANCE)
    difference = max(float((a - b).abs().max()) for a, b in zip(found, gradients, strict=True))
    assert difference <= TOLERANCE * max(largest, 1e-3)


def test_the_gate_is_both_open_and_closed_in_these_models() -> None:
    """Otherwise the test above would not test the gate."""
    torch.manual_seed(1)
    ids = torch.randint(VOCABULARY, (1, 60))
    nll = -model()(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
    nll = nll[torch.arange(59), ids[0, 1:]]
    assert 0 < int((nll <= 2.0).sum()) < 59

"""The whole path from shards to gradient against the oracle, over random pairs, weights and groupings.

GPT-2 computes in fp64 throughout (Llama norms and rotates in fp32 whatever its dtype), so differences here
are rounding of fp64 alone.
"""

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
from transformers import GPT2Config, GPT2LMHeadModel

from figa_core.config.training import LossConfig
from figa_core.records import EditClass, WeighedPair
from figa_core.shards.write import write_shards
from figa_core.training.attention import use_packed_attention
from figa_core.training.batches import plan_step
from figa_core.training.data import PairData
from figa_core.training.engine import WeightedTokenLogits
from figa_core.training.loop import accumulate
from figa_core.training.objectives.registry import make_objective
from tests.figa_core.training.jobs import PlainEngine
from tests.figa_core.training.oracle import Oracle, Settings, oracle

VOCABULARY = 13
TOLERANCE = 1e-10
RESPONSE = [EditClass.KEPT, EditClass.DELETED, EditClass.SUBSTITUTED]
REVISION = [EditClass.KEPT, EditClass.INSERTED, EditClass.SUBSTITUTED]

token = st.integers(0, VOCABULARY - 1)
weight = st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])


@cache
def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=64,
        n_embd=8,
        n_layer=2,
        n_head=2,
        initializer_range=0.7,  # far from uniform, so that NLLs fall on both sides of the gate
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    return GPT2LMHeadModel(config).double()


@st.composite
def answers(draw: st.DrawFn, classes: list[EditClass]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids and classes, with an end of turn or without."""
    ids = draw(st.lists(token, max_size=9))
    edits = [int(draw(st.sampled_from(classes))) for _ in ids]
    if draw(st.booleans()):
        return (*ids, 0), (*edits, int(EditClass.END_OF_TURN))
    return tuple(ids), tuple(edits)


@st.composite
def pair_lists(draw: st.DrawFn) -> list[WeighedPair]:
    pairs: list[WeighedPair] = []
    for index in range(draw(st.integers(1, 5))):
        response, revision = draw(answers(RESPONSE)), draw(answers(REVISION))
        pairs.append(
            WeighedPair(
                pair_id=f"pair-{index}",
                prompt_ids=tuple(draw(st.lists(token, min_size=1, max_size=6))),
                response_ids=response[0],
                response_classes=response[1],
                revision_ids=revision[0],
                revision_classes=revision[1],
                reference_ids=tuple(draw(st.lists(token, max_size=6))),
                response_reward=0.0,
                revision_reward=1.0,
                scale=draw(st.sampled_from([0.25, 1.0, 2.0])),
            )
        )
    return pairs


@dataclass(frozen=True)
class Grouping:
    """What must not change the gradient."""

    ranks: int
    tokens_per_batch: int
    packing: bool
    packed_attention: bool
    tail_cut: bool
    sparse_head: bool


groupings = st.builds(
    Grouping,
    ranks=st.integers(1, 3),
    tokens_per_batch=st.sampled_from([16, 40, 4096]),
    packing=st.booleans(),
    packed_attention=st.booleans(),
    tail_cut=st.booleans(),
    sparse_head=st.booleans(),
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


@dataclass(frozen=True)
class Step:
    """What one optimizer step comes to."""

    loss: float
    counted: int
    gradients: list[torch.Tensor]


def run_ours(pairs: Sequence[WeighedPair], settings: Settings, grouping: Grouping) -> Step:
    """Every rank's micro-batches, one after another in this process."""
    with tempfile.TemporaryDirectory() as directory:
        write_shards(
            Path(directory),
            pairs,
            shard_set_id="s",
            tokenizer_hash="t",
            template_hash="t",
            scheme="any",
            max_length=64,
            pairs_per_shard=2,
        )
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
    own_model = copy.deepcopy(model())
    if grouping.packed_attention:
        assert use_packed_attention(own_model)
    module = WeightedTokenLogits(own_model, sparse_head=grouping.sparse_head)
    engine = PlainEngine(module)
    loss, counted = 0.0, 0
    for rank in range(grouping.ranks):
        plan = plan_step(
            data,
            range(len(pairs)),
            ours,
            rank=rank,
            ranks=grouping.ranks,
            tokens_per_batch=grouping.tokens_per_batch,
            packing=grouping.packing,
            tail_cut=grouping.tail_cut,
        )
        counted = plan.counted
        terms = accumulate(engine, plan.micro_batches, ours, max(plan.counted, 1))
        loss += sum(float(one.loss) for one in terms) / max(plan.counted, 1)
    return Step(loss, counted, gradients_of(module))


def run_oracle(pairs: Sequence[WeighedPair], settings: Settings) -> tuple[Oracle, list[torch.Tensor]]:
    module = copy.deepcopy(model())
    expected = oracle(module, pairs, settings, sum(pair.scale for pair in pairs) / len(pairs))
    if expected.loss.requires_grad:
        expected.loss.backward()
    return expected, gradients_of(module)


@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(pair_lists(), all_settings, groupings)
def test_loss_n_and_gradient_are_the_formulas_however_the_step_is_grouped(
    pairs: list[WeighedPair], settings: Settings, grouping: Grouping
) -> None:
    expected, gradients = run_oracle(pairs, settings)
    assume(expected.nearest_to_gate > 1e-3)
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    event(f"{settings.objective}, {'some' if largest else 'no'} gradient")

    found = run_ours(pairs, settings, grouping)

    assert found.counted == expected.counted
    assert found.loss == pytest.approx(float(expected.loss.detach()), rel=TOLERANCE, abs=TOLERANCE)
    difference = max(float((a - b).abs().max()) for a, b in zip(found.gradients, gradients, strict=True))
    assert difference <= TOLERANCE * max(largest, 1e-3)


def test_the_gate_is_both_open_and_closed_in_these_models() -> None:
    """Otherwise the property above would say nothing of the gate."""
    torch.manual_seed(1)
    ids = torch.randint(VOCABULARY, (1, 60))
    nll = -model()(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
    nll = nll[torch.arange(59), ids[0, 1:]]
    assert 0 < int((nll <= 2.0).sum()) < 59

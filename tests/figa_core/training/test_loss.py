"""The loss against a slow, obviously correct implementation."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from figa_core.config.training import LossConfig
from figa_core.training.micro_batch import DUMMY
from figa_core.training.model import token_nll
from figa_core.training.objectives.base import Objective, Predictions
from figa_core.training.objectives.figa import Figa
from figa_core.training.objectives.unlikelihood import Unlikelihood


class Sums(NamedTuple):
    """The loss of a micro-batch, and its figures."""

    loss: torch.Tensor
    positive_nll: torch.Tensor
    positives: torch.Tensor
    gated: torch.Tensor
    negatives: torch.Tensor


def sums_of(objective: Objective, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> Sums:
    terms = objective.terms(Predictions(token_nll(logits, targets, weights), weights))
    gated = terms.figures.get("negatives_gated_share", (torch.zeros(()), (weights < 0).sum()))
    figures = map(torch.as_tensor, (*terms.figures["positive_nll"], *gated))
    return Sums(terms.loss, *figures)


def weighted_nll(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, gate: float | None = None
) -> Sums:
    return sums_of(Figa(LossConfig(negative_nll_max=gate)), logits, targets, weights)


def weighted_unlikelihood(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> Sums:
    return sums_of(Unlikelihood(LossConfig(objective="unlikelihood")), logits, targets, weights)


Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Sums]
logits_lists = st.lists(st.lists(st.floats(-6, 6), min_size=4, max_size=4), min_size=1, max_size=6)
weight = st.sampled_from([-2.0, -0.5, 0.1, 1.0, 3.0])


def slow_nll(logits: list[float], target: int) -> float:
    return math.log(sum(math.exp(value) for value in logits)) - logits[target]


@given(logits_lists, st.data(), st.sampled_from([None, 0.2, 0.6, 3.0]))
def test_weighted_nll_is_the_formula(
    rows: list[list[float]], data: st.DataObject, gate: float | None
) -> None:
    targets = [data.draw(st.integers(0, 3)) for _ in rows]
    weights = [data.draw(weight) for _ in rows]
    nlls = [slow_nll(row, target) for row, target in zip(rows, targets, strict=True)]
    assume(gate is None or all(abs(nll - gate) > 1e-3 for nll in nlls))
    expected, gated = 0.0, 0
    for w, nll in zip(weights, nlls, strict=True):
        if w < 0 and gate is not None and nll > gate:
            gated += 1
        else:
            expected += w * nll

    logits, weights_K = (torch.tensor(values, dtype=torch.float64) for values in (rows, weights))
    sums = weighted_nll(logits, torch.tensor(targets), weights_K, gate)
    assert float(sums.loss) == pytest.approx(expected, abs=1e-9)
    assert (int(sums.negatives), int(sums.gated)) == (sum(w < 0 for w in weights), gated)
    assert int(sums.positives) == sum(w > 0 for w in weights)
    positive = sum(nll for w, nll in zip(weights, nlls, strict=True) if w > 0)
    assert float(sums.positive_nll) == pytest.approx(positive, abs=1e-9)


@given(logits_lists, st.data())
def test_unlikelihood_is_the_formula(rows: list[list[float]], data: st.DataObject) -> None:
    targets = [data.draw(st.integers(0, 3)) for _ in rows]
    weights = [data.draw(weight) for _ in rows]
    expected = 0.0
    for row, target, w in zip(rows, targets, weights, strict=True):
        nll = slow_nll(row, target)
        expected += w * nll if w > 0 else -w * -math.log(1 - min(math.exp(-nll), 1 - 1e-4))
    logits, weights_K = (torch.tensor(values, dtype=torch.float64) for values in (rows, weights))
    sums = weighted_unlikelihood(logits, torch.tensor(targets), weights_K)
    assert float(sums.loss) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_worked_example() -> None:
    """p = 1/2 for both tokens, so every NLL is ln 2 = 0.693: a gate at 0.6 is closed, one at 0.7 open."""
    logits, targets, weights = torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([1.0, -0.5])
    assert float(weighted_nll(logits, targets, weights, 0.6).loss) == pytest.approx(math.log(2))
    assert float(weighted_nll(logits, targets, weights, 0.7).loss) == pytest.approx(0.5 * math.log(2))
    assert float(weighted_unlikelihood(logits, targets, weights).loss) == pytest.approx(1.5 * math.log(2))


def test_a_gated_token_has_no_gradient_and_an_open_one_raises_the_nll() -> None:
    logits = torch.tensor([[0.0, 3.0], [3.0, 0.0]], requires_grad=True)
    weighted_nll(logits, torch.tensor([0, 0]), torch.tensor([-1.0, -1.0]), 0.6).loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[0], torch.zeros(2))
    assert logits.grad[1, 0] > 0  # gradient descent lowers the logit of a token that was likely


def test_a_token_ruled_out_entirely_is_gated_without_nan() -> None:
    logits = torch.tensor([[-math.inf, 0.0], [0.0, 0.0]], requires_grad=True)
    sums = weighted_nll(logits, torch.tensor([0, 0]), torch.tensor([-1.0, 1.0]), 0.6)
    sums.loss.backward()
    assert torch.isfinite(sums.loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loss", [weighted_nll, weighted_unlikelihood])
def test_half_precision_logits_are_converted_to_fp32_first(loss: Loss, dtype: torch.dtype) -> None:
    """Not later: a log-softmax in bfloat16 is off by a few per cent."""
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(40, 50, generator=generator)).to(dtype)
    targets, weights = torch.arange(40), torch.ones(40)
    weights[::2] = -0.5
    sums, exact = loss(logits, targets, weights), loss(logits.double(), targets, weights.double())
    assert sums.loss.dtype == torch.float32
    for found, expected in zip(sums, exact, strict=True):
        assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_a_dummy_adds_nothing() -> None:
    """A rank with fewer micro-batches than the others runs one token of weight 0."""
    targets, weights = torch.from_numpy(DUMMY.targets_K), torch.from_numpy(DUMMY.weights_K)
    for loss in (weighted_nll, weighted_unlikelihood):
        sums = loss(torch.randn(len(targets), 5), targets, weights)
        assert [float(value) for value in sums] == [0.0] * len(sums)


def test_arguments_are_not_changed() -> None:
    logits, targets, weights = torch.randn(3, 4), torch.tensor([0, 1, 2]), torch.tensor([1.0, -1.0, 0.5])
    copies = logits.clone(), targets.clone(), weights.clone()
    weighted_nll(logits, targets, weights, 0.6)
    weighted_unlikelihood(logits, targets, weights)
    assert all(torch.equal(a, b) for a, b in zip((logits, targets, weights), copies, strict=True))


@pytest.mark.parametrize("loss", [weighted_nll, weighted_unlikelihood])
@pytest.mark.parametrize("weights", [1, 2, 4])
def test_weights_of_another_length_are_an_error_and_are_not_broadcast(loss: Loss, weights: int) -> None:
    with pytest.raises(ValueError, match=rf"one length, but have \(3, 3, {weights}\)"):
        loss(torch.zeros(3, 5), torch.zeros(3, dtype=torch.long), torch.ones(weights))


@pytest.mark.parametrize("loss", [weighted_nll, weighted_unlikelihood])
def test_without_tokens_the_loss_is_zero(loss: Loss) -> None:
    logits = torch.zeros(0, 5, requires_grad=True)
    sums = loss(logits, torch.zeros(0, dtype=torch.long), torch.zeros(0))
    sums.loss.backward()
    assert float(sums.loss.detach()) == 0


def test_both_answers_of_a_pair_calculated_by_hand() -> None:
    """A vocabulary of two tokens with p = 4/5 and 1/5 everywhere, α = 1, β = 1/2, gate 0.6.

    Ỹ: an inserted token of p = 1/5 (NLL ln 5) and the end of turn of p = 4/5 (NLL ln 5/4), both weight 1.
    Ŷ: a deleted token of p = 4/5 (NLL 0.22, open) and one of p = 1/5 (NLL 1.61, gated), weight −1/2.
    N = 4 includes the gated token.
    """
    logits = torch.tensor([math.log(4.0), 0.0]).repeat(4, 1)
    sums = weighted_nll(logits, torch.tensor([1, 0, 0, 1]), torch.tensor([1.0, 1.0, -0.5, -0.5]), 0.6)
    expected = (math.log(5) + math.log(5 / 4) - 0.5 * math.log(5 / 4)) / 4
    assert float(sums.loss) / 4 == pytest.approx(expected)
    assert (int(sums.positives), int(sums.negatives), int(sums.gated)) == (2, 2, 1)

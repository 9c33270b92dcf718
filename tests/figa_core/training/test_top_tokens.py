"""The divergence from stored most likely tokens against the full one in plain torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from figa_core.training.top_tokens import TopTokens, joined, kl_from_base, top_tokens_of

VOCABULARY = 7
rows = st.lists(st.floats(-8, 8), min_size=VOCABULARY, max_size=VOCABULARY)
logits_lists = st.lists(rows, min_size=1, max_size=4)


def full_kl(base: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """Σ p · (log p − log q) over the whole vocabulary, (A)."""
    p, q = base.log_softmax(1), model.log_softmax(1)
    return functional.kl_div(q, p, log_target=True, reduction="none").sum(1)


def pair_of_logits(base: list[list[float]], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.tensor(base, dtype=torch.float64)
    return logits, (logits + torch.randn(logits.shape, generator=generator, dtype=torch.float64))


@given(logits_lists, st.integers(0, 99))
def test_with_the_whole_vocabulary_divergence_and_gradient_are_the_full_ones(
    base: list[list[float]], seed: int
) -> None:
    theirs, ours = pair_of_logits(base, seed)
    one, other = ours.clone().requires_grad_(), ours.clone().requires_grad_()
    found = kl_from_base(one, *top_tokens_of(theirs, VOCABULARY))
    expected = full_kl(theirs, other)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-9)
    found.sum().backward()
    expected.sum().backward()
    assert one.grad is not None
    assert other.grad is not None
    assert float((one.grad - other.grad).abs().max()) < 1e-9


@given(logits_lists, st.integers(0, 99))
def test_fewer_tokens_give_a_lower_bound_that_grows_with_their_number(
    base: list[list[float]], seed: int
) -> None:
    theirs, ours = pair_of_logits(base, seed)
    bounds = [kl_from_base(ours, *top_tokens_of(theirs, count)) for count in range(1, VOCABULARY + 1)]
    for less, more in zip(bounds, [*bounds[1:], full_kl(theirs, ours)], strict=True):
        assert (less >= -1e-12).all()
        assert (less <= more + 1e-9).all()


@given(logits_lists)
def test_a_model_is_at_no_distance_from_itself_and_has_no_gradient_there(base: list[list[float]]) -> None:
    logits = torch.tensor(base, dtype=torch.float64, requires_grad=True)
    found = kl_from_base(logits, *(part.detach() for part in top_tokens_of(logits, 3)))
    assert found.tolist() == pytest.approx([0.0] * len(base), abs=1e-12)
    found.sum().backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-12


def test_a_worked_example_with_the_others_in_one_bucket() -> None:
    """p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2), two buckets: ½ ln 2 + ½ ln ⅔."""
    p, q = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.25, 0.25, 0.5]]).log()
    ids, log_probs = top_tokens_of(p, 1)
    assert ids.tolist() == [[0]]
    assert log_probs.exp().tolist() == [pytest.approx([0.5, 0.5])]
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert kl_from_base(q, ids, log_probs).tolist() == [pytest.approx(expected)]


def test_a_sure_model_loses_no_digits_of_what_is_left_for_the_others() -> None:
    """The others have 2e-13 together, which one minus the rest would round to 0 in float32."""
    logits = torch.tensor([[30.0, 0.0, 0.0]])
    _, log_probs = top_tokens_of(logits, 1)
    assert float(log_probs[0, 1]) == pytest.approx(math.log(2) - 30, rel=1e-6)
    surer = torch.tensor([[60.0, 0.0, 0.0]], requires_grad=True)
    kl_from_base(surer, torch.tensor([[0]]), log_probs).sum().backward()
    assert surer.grad is not None
    assert torch.isfinite(surer.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_converted_to_fp32_first(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    base, model = (3 * torch.randn(2, 20, 50, generator=generator)).to(dtype)
    found = kl_from_base(model, *top_tokens_of(base, 5))
    exact = kl_from_base(model.double(), *top_tokens_of(base.double(), 5))
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(exact.tolist(), rel=1e-4)


def test_parts_are_joined_at_the_places_of_their_sequences() -> None:
    def part(*places: int) -> TopTokens:
        ids = np.array([[place, place] for place in places])
        return TopTokens(np.array(places), ids, np.zeros((len(places), 3), dtype=np.float32))

    found = joined([part(0, 2), None, part(1)], [3, 4, 2])
    assert found is not None
    assert found.places_A.tolist() == [0, 2, 8]
    assert found.ids_AC[:, 0].tolist() == [0, 2, 1]
    assert joined([None, None], [1, 2]) is None

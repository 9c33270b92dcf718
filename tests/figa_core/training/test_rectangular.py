"""Attention of fewer queries than keys, against a softmax written out."""

from typing import Any

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from figa_core.training import rectangular
from figa_core.training.rectangular import mask_of, masked, softcapped

HEADS, GROUPS, WIDTH = 4, 2, 8


def layer() -> Any:
    module: Any = torch.nn.Module()
    module.num_key_value_groups, module.is_causal, module.head_dim = GROUPS, True, WIDTH
    return module


def tensors(queries: int, keys: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(HEADS, queries), (HEADS // GROUPS, keys), (HEADS // GROUPS, keys)]
    return [
        torch.randn(1, heads, count, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
        for heads, count in sizes
    ]


def written_out(
    tensors: list[torch.Tensor], window: int | None, softcap: float | None = None
) -> torch.Tensor:
    query, key, value = tensors
    key, value = (tensor.repeat_interleave(GROUPS, dim=1) for tensor in (key, value))
    rows: list[torch.Tensor] = []
    for place in range(query.shape[2]):
        last = key.shape[2] - query.shape[2] + place
        first = 0 if window is None else max(last - window + 1, 0)
        scores = (key[0, :, first : last + 1] @ query[0, :, place, :, None])[..., 0] * WIDTH**-0.5
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        rows.append(torch.einsum("hs,hsd->hd", scores.softmax(-1), value[0, :, first : last + 1]))
    return torch.stack(rows)[None]


SHAPES = [(5, 5), (1, 9), (7, 8), (7, 20), (4, 11)]


@pytest.fixture(params=[2, 3, 256])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rectangular, "CHUNK", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(("queries", "keys"), SHAPES)
@pytest.mark.parametrize("window", [None, 1, 3, 100])
@pytest.mark.parametrize("softcap", [None, 0.7])
def test_outputs_and_gradients_are_those_of_a_softmax_over_what_each_query_sees(
    queries: int, keys: int, window: int | None, softcap: float | None
) -> None:
    attention = sdpa_attention_forward if softcap is None else softcapped
    arguments = {"scaling": None} if softcap is None else {"scaling": None, "softcap": softcap}
    ours, plain = tensors(queries, keys), tensors(queries, keys)
    found = masked(attention, layer(), ours[0], ours[1], ours[2], window, arguments)
    expected = written_out(plain, window, softcap)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(found, ours, weights), torch.autograd.grad(expected, plain, weights), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_no_chunk_gets_keys_that_all_of_it_must_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rectangular, "CHUNK", 4)
    shapes: list[tuple[int, int]] = []

    def attention(_module: Any, query: torch.Tensor, key: torch.Tensor, *_: Any) -> tuple[torch.Tensor, None]:
        shapes.append((query.shape[2], key.shape[2]))
        return query.transpose(1, 2), None

    query, key, value = tensors(10, 30)
    masked(attention, layer(), query, key, value, None, {})
    masked(attention, layer(), query, key, value, 6, {})
    assert shapes == [(4, 24), (4, 28), (2, 30), (4, 9), (4, 9), (2, 7)]


def test_masks_of_one_size_are_views_of_one_tensor() -> None:
    like = (torch.float32, torch.device("cpu"))
    first, second = mask_of(7, 100, None, *like), mask_of(3, 90, None, *like)
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
    assert (first == 0).sum(dim=-1).tolist() == [[[101, 102, 103, 104, 105, 106, 107]]]


def test_the_capping_is_that_of_gemma_2() -> None:
    query, key, value = (tensor.detach().float() for tensor in tensors(6, 6))
    mask = mask_of(6, 0, None, torch.float32, torch.device("cpu"))
    expected, _ = eager_attention_forward(layer(), query, key, value, mask, scaling=0.3, softcap=0.7)
    found, _ = softcapped(layer(), query, key, value, mask, scaling=0.3, softcap=0.7)
    torch.testing.assert_close(found, expected)

"""Sequences packed into one row have the logits of each alone, in every architecture that supports it."""

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from transformers import BloomConfig, BloomForCausalLM, LlamaConfig, LlamaForCausalLM

from figa_core.training.attention import PACKED, packed_attention, use_packed_attention
from tests.figa_core.training.small_models import MODELS, SIZES, make

LENGTHS = (5, 1, 12, 7)


def sequences() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(53, (1, length), generator=generator) for length in LENGTHS]


def gradients(model: Any, logits: torch.Tensor) -> list[torch.Tensor]:
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    (logits * weights).sum().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", MODELS)
def test_packed_sequences_have_the_logits_and_the_gradient_of_each_alone(name: str) -> None:
    alone, packed = make(name), make(name)
    assert use_packed_attention(packed)
    assert packed.config._attn_implementation == PACKED

    expected = torch.cat([alone(input_ids=ids, use_cache=False).logits for ids in sequences()], dim=1)
    found = packed(
        input_ids=torch.cat(sequences(), dim=1),
        position_ids=torch.cat([torch.arange(length) for length in LENGTHS])[None],
        use_cache=False,
        piece_lengths=LENGTHS,
    ).logits

    difference, largest = (found - expected).detach().abs().max(), expected.detach().abs().max()
    assert float(difference) <= 1e-5 * float(largest)
    pairs = zip(gradients(packed, found), gradients(alone, expected), strict=True)
    for ours, theirs in pairs:
        assert float((ours - theirs).abs().max()) <= 1e-4 * max(float(theirs.abs().max()), 1.0)


@pytest.mark.parametrize("name", MODELS)
def test_padded_rows_have_the_same_logits_as_before(name: str) -> None:
    before, after = make(name), make(name)
    assert use_packed_attention(after)
    ids = torch.randint(53, (3, 10), generator=torch.Generator().manual_seed(3))
    expected = before(input_ids=ids, use_cache=False).logits
    found = after(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(found, expected)


def test_a_model_without_replaceable_attention_is_not_changed() -> None:
    model = BloomForCausalLM(BloomConfig(vocab_size=53, hidden_size=32, n_layer=1, n_head=2))
    before = model.config._attn_implementation
    assert not use_packed_attention(model)
    assert model.config._attn_implementation == before


class Mixing(LlamaForCausalLM):
    """Mixes every token of a row with its left neighbour, as a convolution does."""

    def forward(self, input_ids: Any, **arguments: Any) -> Any:  # type: ignore[override]
        embeddings = self.get_input_embeddings()(input_ids)
        return super().forward(inputs_embeds=embeddings + torch.roll(embeddings, 1, dims=1), **arguments)


class Narrow(LlamaForCausalLM):
    """Its forward has no further arguments."""

    def forward(self, input_ids: Any, position_ids: Any = None, use_cache: bool | None = None) -> Any:  # type: ignore[override]
        return super().forward(input_ids=input_ids, position_ids=position_ids, use_cache=use_cache)


@pytest.mark.parametrize("kind", [Mixing, Narrow])
def test_a_model_whose_pieces_would_see_each_other_is_not_changed(kind: Any) -> None:
    model = kind(LlamaConfig(**SIZES))
    assert not use_packed_attention(model)
    assert model.config._attn_implementation == "sdpa"


def test_the_trial_keeps_the_model_in_its_mode_and_makes_no_gradients() -> None:
    for training in (True, False):
        model = make("llama").train(training)
        use_packed_attention(model)
        assert model.training is training
        assert all(parameter.grad is None for parameter in model.parameters())


class Recorder(TorchFunctionMode):
    """Records the shapes of the queries and keys that reach PyTorch's attention, and computes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[torch.Size, torch.Size]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            self.shapes.append((args[0].shape, args[1].shape))
            return torch.empty(args[0].shape)  # on the CPU: this build of PyTorch may have no other device
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("device", "dtype", "heads"),
    [("cuda", torch.float32, 4), ("cpu", torch.float32, 2), ("cpu", torch.bfloat16, 2)],
)
def test_float32_on_a_gpu_gets_as_many_heads_of_keys_as_of_queries(
    device: str, dtype: torch.dtype, heads: int
) -> None:
    module = torch.nn.Module()
    module.num_key_value_groups = 2  # type: ignore[assignment]
    with FakeTensorMode(), Recorder() as calls:
        query, *others = (
            torch.empty(1, count, sum(LENGTHS), 8, device=device, dtype=dtype) for count in (4, 2, 2)
        )
        packed_attention(module, query, others[0], others[1], None, LENGTHS)
    assert calls.shapes == [((1, 4, length, 8), (1, heads, length, 8)) for length in LENGTHS]

"""The variable-length kernel is called so that it equals the loop over pieces.

The kernel itself needs a GPU. Here PyTorch's dispatcher passes its arguments to plain attention.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from figa_core.training import varlen
from figa_core.training.attention import packed_attention

LENGTHS = (5, 1, 12, 7)


class PlainKernel(TorchDispatchMode):
    """Replaces the kernel by plain attention with a mask made from its arguments.

    `leaks` and `wrong_gradient` are faults that a kernel might have.
    """

    def __init__(self, *, leaks: bool = False, wrong_gradient: bool = False) -> None:
        super().__init__()
        self.calls = 0
        self._leaks, self._wrong_gradient = leaks, wrong_gradient

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.torch_attn._varlen_attn.default:
            self.calls += 1
            query, key, value, starts, starts_of_keys, longest, longest_key = args[:7]
            scale, window, grouped = args[8:11]
            assert starts.dtype == starts_of_keys.dtype == torch.int32
            assert (int(starts[-1]), int(starts_of_keys[-1])) == (len(query), len(key))
            assert (longest, longest_key) == tuple(int(s.diff().max()) for s in (starts, starts_of_keys))
            assert window[0] >= -1  # for all tokens before
            assert grouped or query.shape[1] == key.shape[1]
            _, output = self._attend(query, key, value, (starts, starts_of_keys), scale, window)
            return output.to(query.dtype), torch.zeros(0), torch.zeros(2)
        if func is torch.ops.torch_attn._varlen_attn_backward.default:
            (gradient, query, key, value, _, _, *starts), (scale, window) = args[:8], args[12:14]
            return self._backward(gradient, query, key, value, starts, scale, window)
        return func(*args, **(kwargs or {}))

    def _attend(
        self, query: Any, key: Any, value: Any, starts: Any, scale: float | None, window: list[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities (H, T, T) and output (T, H, D)."""
        groups = query.shape[1] // key.shape[1]
        pieces, places = zip(*(_pieces_and_places(of_side) for of_side in starts), strict=True)
        # The last query of a piece is beside its last key.
        behind = places[0][:, None] - places[1][None]
        seen = behind >= -window[1]
        if not self._leaks:
            seen = seen & (pieces[0][:, None] == pieces[1][None])
        if window[0] >= 0:
            seen = seen & (behind <= window[0])
        scores = torch.einsum("thd,shd->hts", query.float(), key.repeat_interleave(groups, 1).float())
        scores = scores * (query.shape[2] ** -0.5 if scale is None else scale)
        chances = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        return chances, torch.einsum("hts,shd->thd", chances, value.repeat_interleave(groups, 1).float())

    def _backward(
        self, gradient: Any, query: Any, key: Any, value: Any, starts: Any, scale: Any, window: Any
    ) -> tuple[torch.Tensor, ...]:
        chances, output = self._attend(query, key, value, starts, scale, window)
        groups, few = query.shape[1] // key.shape[1], key.shape[1]
        wide_key, wide_value = (t.repeat_interleave(groups, 1).float() for t in (key, value))
        by_chance = torch.einsum("thd,shd->hts", gradient.float(), wide_value)
        by_chance = by_chance - (gradient * output).sum(-1).T[:, :, None]
        by_score = chances * by_chance * (query.shape[2] ** -0.5 if scale is None else scale)
        by_value = torch.einsum("hts,thd->shd", chances, gradient.float())
        by_key = torch.einsum("hts,thd->shd", by_score, query.float())
        by_query = torch.einsum("hts,shd->thd", by_score, wide_key) * (2 if self._wrong_gradient else 1)
        summed = (t.unflatten(1, (few, groups)).sum(2) for t in (by_key, by_value))
        return tuple(t.to(query.dtype) for t in (by_query, *summed))


def _pieces_and_places(starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each token its piece, and its distance from the piece's end, negative."""
    piece = torch.repeat_interleave(torch.arange(len(starts) - 1), starts.diff())
    return piece, torch.arange(int(starts[-1])) - starts[1:][piece]


def layer(groups: int) -> torch.nn.Module:
    module = torch.nn.Module()
    module.num_key_value_groups = groups  # type: ignore[assignment]
    module.is_causal = True  # type: ignore[assignment]
    return module


def tensors(heads: int, groups: int, *, dtype: torch.dtype = torch.float32, rows: int = 1) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(rows, sum(LENGTHS), count, 8) for count in (heads, heads // groups, heads // groups)]
    return [torch.randn(shape, generator=generator).to(dtype).transpose(1, 2) for shape in shapes]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("window", [None, 1, 4, 100])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_one_call_equals_the_loop_over_pieces(groups: int, window: int | None, scale: float | None) -> None:
    query, key, value = tensors(4, groups)
    expected, _ = packed_attention(
        layer(groups), query, key, value, None, LENGTHS, sliding_window=window, scaling=scale
    )
    with PlainKernel() as kernel:
        found = varlen.attend(query, key, value, LENGTHS, scale=scale, sliding_window=window)
    assert kernel.calls == 1
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("window", [None, 1, 4, 100])
def test_one_call_equals_the_loop_over_pieces_that_continue_others(window: int | None) -> None:
    query, key, value = tensors(4, 2)
    for parents in ((-1, 0, 0, -1), (-1, 0, 1, 1), (-1, -1, 1, 0)):
        expected, _ = packed_attention(
            layer(2), query, key, value, None, LENGTHS, parents, sliding_window=window
        )
        with PlainKernel() as kernel:
            found = varlen.attend(query, key, value, LENGTHS, parents=parents, sliding_window=window)
        assert kernel.calls == 1
        torch.testing.assert_close(found, expected)


def test_other_pieces_begin_at_other_places() -> None:
    query, key, value = tensors(2, 1)
    for lengths in ((25,), (20, 5), LENGTHS):
        with PlainKernel():
            found = varlen.attend(query, key, value, lengths)
        torch.testing.assert_close(found, packed_attention(layer(1), query, key, value, None, lengths)[0])


def test_a_cpu_uses_the_loop() -> None:
    query, key, value = tensors(2, 1, dtype=torch.bfloat16)
    assert not varlen.serves(layer(1), query, key, value, {})
    assert varlen.problem_with_device(query.device) == "it needs an NVIDIA GPU"


@pytest.mark.parametrize("tree", [False, True])
def test_a_correct_kernel_is_used(tree: bool) -> None:
    with PlainKernel() as kernel:
        assert varlen.problem_when_tried(torch.device("cpu"), tree=tree) is None
    assert kernel.calls == 1


@pytest.mark.parametrize("tree", [False, True])
@pytest.mark.parametrize("fault", ["leaks", "wrong_gradient"])
def test_a_wrong_kernel_is_not_used(fault: str, tree: bool) -> None:
    with PlainKernel(**{fault: True}):
        problem = varlen.problem_when_tried(torch.device("cpu"), tree=tree)
    assert problem is not None
    assert problem.startswith("what it computes is off by ")


def test_a_missing_kernel_is_not_used() -> None:
    problem = varlen.problem_when_tried(torch.device("cpu"))  # PyTorch's message
    assert problem
    assert "\n" not in problem


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernel_takes_half_precision(dtype: torch.dtype) -> None:
    assert varlen.fits(*tensors(2, 1, dtype=dtype))


def _changed(index: int, change: Any) -> list[Any]:
    made = tensors(6, 1, dtype=torch.bfloat16)
    made[index] = change(made[index])
    return made


@pytest.mark.parametrize(
    ("why", "made"),
    [
        ("float32", tensors(2, 1)),
        ("several rows", tensors(2, 1, dtype=torch.bfloat16, rows=2)),
        ("mixed types", _changed(1, torch.Tensor.half)),
        ("a narrower value", _changed(2, lambda value: value[..., :4])),
        ("heads that are not groups", _changed(1, lambda key: key[:, :4])),
        ("a width of 12", [t.repeat(1, 1, 1, 2)[..., :12] for t in tensors(2, 1, dtype=torch.bfloat16)]),
        ("a width of 264", [t.repeat(1, 1, 1, 33) for t in tensors(2, 1, dtype=torch.bfloat16)]),
    ],
)
def test_the_kernel_does_not_take(why: str, made: Sequence[Any]) -> None:
    assert not varlen.fits(made[0], made[1], made[2]), why


def test_the_kernel_supports_what_transformers_passes_to_every_layer() -> None:
    passed = {"dropout": 0.0, "scaling": 0.1, "position_ids": torch.zeros(1), "attention_mask": None}
    assert varlen.knows(layer(1), passed)
    assert varlen.knows(torch.nn.Module(), passed | {"is_causal": True})


@pytest.mark.parametrize(
    "argument",
    [
        {"attention_mask": torch.ones(1)},
        {"dropout": 0.1},
        {"position_bias": torch.ones(1)},
        {"cache": object()},
        {"softcap": 50.0},
        {"s_aux": torch.ones(1)},
        {"is_causal": False},
    ],
)
def test_the_loop_is_used_for_arguments_the_kernel_does_not_support(argument: dict[str, Any]) -> None:
    assert not varlen.knows(layer(1), argument)


def test_the_loop_is_used_for_a_layer_that_looks_ahead() -> None:
    module = layer(1)
    module.is_causal = False  # type: ignore[assignment]
    assert not varlen.knows(module, {})
    assert not varlen.knows(module, {"is_causal": None})

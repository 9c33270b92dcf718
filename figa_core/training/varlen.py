"""Attention within the pieces of a packed row by one kernel call a layer: torch's variable-length attention.

It is the flash kernel with a list of where the pieces begin: on CUDA, in half precision, causal, without a
mask. The loop over pieces in `attention.py` does everything else. It also replaces the kernel on a GPU where
the two differ on a few made-up numbers.

A piece that continues others has more keys than queries; the kernel aligns its mask at the lower right.

Shapes: H heads (of keys and values there may be fewer), T tokens of the row, D width of a head, P pieces.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from inspect import signature
from itertools import accumulate
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn

from figa_core.training.prefixes import ROOT, paths_of

_CPU = torch.device("cpu")
_DTYPES = (torch.bfloat16, torch.float16)
_WIDTH_MAX, _WIDTH_STEP = 256, 8  # the kernel's bounds for a head
_CAPABILITY = (8, 0)  # Ampere, the oldest GPU that the kernel runs on
# torch before 2.12 always groups heads, and has no such argument.
_GROUPED: Any = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}
_TRIED_LENGTHS, _TRIED_HEADS, _TRIED_WIDTH = (70, 1, 200), (4, 2), 32
_TRIED_PARENTS = (ROOT, 0, 1)
_TOLERANCE = 0.03  # of the largest entry: bfloat16 has eight bits


def serves(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    arguments: Mapping[str, Any],
    *,
    tree: bool = False,
) -> bool:
    """Whether the kernel can replace transformers' sdpa function here, for a layer with these `arguments`
    (among them the mask). `tree`: also for pieces that continue others.
    """
    usable = fits(query, key, value) and knows(module, arguments)
    return usable and problem_with_device(query.device, tree=tree) is None


def fits(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether the kernel takes tensors of these shapes and dtypes, each (1, H, T, D)."""
    width = query.shape[3]
    return (
        len(query) == 1
        and query.dtype in _DTYPES
        and query.dtype == key.dtype == value.dtype
        and width == key.shape[3] == value.shape[3] <= _WIDTH_MAX
        and width % _WIDTH_STEP == 0
        and query.shape[1] % key.shape[1] == 0
    )


def knows(module: torch.nn.Module, arguments: Mapping[str, Any]) -> bool:
    """Whether the kernel supports the layer's arguments: causal attention without a mask or dropout."""
    causal = arguments.get("is_causal")
    if causal is None:
        causal = getattr(module, "is_causal", True)
    others = (
        arguments.get(name) for name in ("attention_mask", "position_bias", "cache", "softcap", "s_aux")
    )
    return bool(causal) and not arguments.get("dropout") and all(value is None for value in others)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Sequence[int],
    *,
    parents: tuple[int, ...] | None = None,
    scale: float | None = None,
    sliding_window: int | None = None,
) -> torch.Tensor:
    """Causal attention (1, H, T, D) → (1, T, H, D) within each of the pieces, whose lengths sum to T.

    With `parents` a piece attends to its ancestors too. `sliding_window` counts the token itself, as
    transformers does.
    """
    seen = list(lengths)
    if parents is not None:
        paths = paths_of(parents)
        seen = [sum(lengths[piece] for piece in path) for path in paths]
        key, value = (_along(paths, tensor.split(list(lengths), dim=2)) for tensor in (key, value))
    before = -1 if sliding_window is None else sliding_window - 1
    query_THD, key_THD, value_THD = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    output_THD = varlen_attn(
        query_THD,
        key_THD,
        value_THD,
        _starts(tuple(lengths), query.device),
        _starts(tuple(seen), query.device),
        max(lengths),
        max(seen),
        scale=scale,
        window_size=(before, 0),
        **_GROUPED,
    )
    assert isinstance(output_THD, torch.Tensor)  # it returns a pair only on request
    return output_THD[None]


def _along(paths: Sequence[Sequence[int]], pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """The pieces on each path, one path after another."""
    return torch.cat([pieces[place] for path in paths for place in path], dim=2)


@lru_cache(maxsize=8)
def _starts(lengths: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """(P + 1): where each piece begins, and the end. Cached, because every layer of a pass needs it."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


@lru_cache(maxsize=8)
def problem_with_device(device: torch.device, *, tree: bool = False) -> str | None:
    """Why the kernel is not used on this device, with `tree` for pieces that continue others; None if it is.

    Tried once per process.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return "it needs an NVIDIA GPU"
    if torch.cuda.get_device_capability(device) < _CAPABILITY:
        return "the GPU is too old for it"
    return problem_when_tried(device, tree=tree)


def problem_when_tried(device: torch.device, *, tree: bool = False) -> str | None:
    """How the kernel's results and gradients differ from attention with a mask over the row on a few made-up
    numbers; None if they agree to the rounding of bfloat16.
    """
    parents = _TRIED_PARENTS if tree else None
    generator = torch.Generator().manual_seed(0)
    heads, few = _TRIED_HEADS
    shapes = [(1, count, sum(_TRIED_LENGTHS), _TRIED_WIDTH) for count in (heads, few, few, heads)]
    *inputs, weights = (torch.randn(shape, generator=generator).to(torch.bfloat16) for shape in shapes)
    weights = weights.transpose(1, 2)
    try:
        attention = partial(attend, lengths=_TRIED_LENGTHS, parents=parents)
        found = _with_gradients(attention, inputs, weights, device)
    except (RuntimeError, ValueError, TypeError) as error:
        return str(error).partition("\n")[0] or type(error).__name__
    plain = partial(_over_the_row, parents=parents)
    expected = _with_gradients(plain, [tensor.float() for tensor in inputs], weights.float())
    off = max(
        float((ours - theirs).abs().max() / theirs.abs().max())
        for ours, theirs in zip(found, expected, strict=True)
    )
    return None if off <= _TOLERANCE else f"what it computes is off by {off:.2g} of the largest value"


def _with_gradients(
    attention: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor],
    weights: torch.Tensor,
    device: torch.device = _CPU,
) -> list[torch.Tensor]:
    """The output, and the gradient of its weighted sum by each input."""
    with torch.enable_grad():
        leaves = [tensor.to(device).requires_grad_() for tensor in inputs]
        output = attention(*leaves)
        gradients = torch.autograd.grad(output, leaves, weights.to(device))
    return [tensor.detach().float().cpu() for tensor in (output, *gradients)]


def _over_the_row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, parents: tuple[int, ...] | None
) -> torch.Tensor:
    pieces = len(_TRIED_LENGTHS)
    paths = paths_of((ROOT,) * pieces if parents is None else parents)
    on_path_PP = torch.tensor([[piece in path for piece in range(pieces)] for path in paths])
    piece_T = torch.repeat_interleave(torch.arange(pieces), torch.tensor(_TRIED_LENGTHS))
    # A piece comes after its ancestors, so along a path the row's order is the order of the tokens.
    mask_TT = on_path_PP[piece_T][:, piece_T].tril()
    output = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask_TT, enable_gqa=True)
    return output.transpose(1, 2)

"""Causal attention of fewer queries than keys: the last query sees all keys, each one before it one less.

The mask is aligned at the lower right. With it the kernels do not skip what it hides, so the queries are
taken in chunks, each of which gets no keys that all of it must not see.

Shapes: H heads (of keys and values there may be fewer), Q queries, S keys, D width of a head.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch

CHUNK = 256
"""Queries."""
_ROUNDED_TO = 256  # masks are views of larger ones, so that all layers and pieces have a few in common

Attention = Callable[..., tuple[torch.Tensor, Any]]


def masked(
    attention: Attention,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sliding_window: int | None,
    arguments: Mapping[str, Any],
) -> torch.Tensor:
    """(B, Q, H, D), computed by `attention`, one of transformers' functions, which gets a mask to add.

    The Q queries belong to the last of the S keys. `sliding_window` counts the token itself.
    """
    outputs: list[torch.Tensor] = []
    place = key.shape[2] - query.shape[2]  # of the chunk's first query, among the keys
    for chunk in query.split(CHUNK, dim=2):
        first = 0 if sliding_window is None else max(place - sliding_window + 1, 0)
        end = place + chunk.shape[2]
        mask = mask_of(chunk.shape[2], place - first, sliding_window, query.dtype, query.device)
        seen = (tensor[:, :, first:end] for tensor in (key, value))
        outputs.append(attention(module, chunk, *seen, mask, **arguments)[0])
        place = end
    return torch.cat(outputs, dim=1)


def mask_of(
    queries: int, before: int, sliding_window: int | None, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """(1, 1, Q, S) for S = `before` + Q keys: 0 where a query sees a key, else −inf. Do not change it."""
    rounded = -(-before // _ROUNDED_TO) * _ROUNDED_TO
    rows = -(-queries // CHUNK) * CHUNK
    whole = _whole_mask(rows, rounded, sliding_window, dtype, device)
    mask = whole[None, None, :queries, rounded - before : rounded + queries]
    return mask if device.type == "cpu" else mask.contiguous()  # GPU kernels want aligned rows


@lru_cache(maxsize=8)
def _whole_mask(
    queries: int, before: int, window: int | None, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    places_Q1 = torch.arange(before, before + queries, device=device)[:, None]
    behind_QS = places_Q1 - torch.arange(before + queries, device=device)
    hidden_QS = behind_QS < 0
    if window is not None:
        hidden_QS |= behind_QS >= window
    return torch.zeros(hidden_QS.shape, dtype=dtype, device=device).masked_fill_(hidden_QS, -torch.inf)


def softcapped(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    *,
    softcap: float,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_others: Any,
) -> tuple[torch.Tensor, None]:
    """(B, Q, H, D) with scores limited to ±`softcap` by a tanh, as in transformers' eager function."""
    groups = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    scores = softcap * torch.tanh(query @ key.transpose(2, 3) * scale / softcap) + mask
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(query.dtype, torch.float32)).to(query.dtype)
    weights = torch.nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), None

"""Attention for sequences packed into one row: each attends to itself only, without padding or a mask.

transformers would mask the whole row, at a cost quadratic in the row. Here a row is split where sequences
end, and every piece goes through transformers' own sdpa function with the causal kernel. On a GPU in bfloat16
one call does all pieces (`varlen.py`). `use_packed_attention` registers it under `PACKED`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from figa_core.training import varlen

PACKED = "figa_packed"
_TRIED = (7, 9)
_TOLERANCE = 1e-3


def use_packed_attention(model: Any) -> bool:
    """Make a model attend within the pieces of a packed row; if it cannot, return False and change nothing.

    It cannot if it does not use transformers' replaceable sdpa attention, or if it also mixes neighbouring
    tokens in another way (a convolution, a recurrent state), which is found by trying.
    """
    if model.config._attn_implementation != "sdpa" or not model._can_set_attn_implementation():
        return False
    alone = torch.cat([_logits(model, [length]) for length in _TRIED], dim=1)
    AttentionInterface.register(PACKED, packed_attention)
    model.set_attn_implementation(PACKED)
    together = _logits(model, _TRIED)
    if bool((together - alone).abs().max() <= _TOLERANCE * alone.abs().max()):
        return True
    model.set_attn_implementation("sdpa")
    return False


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    piece_lengths: Sequence[int] | None = None,
    sliding_window: int | None = None,
    **arguments: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention (B, H, T, D) → (B, T, H, D) within each of the pieces, whose lengths sum to T.

    Without `piece_lengths` a row is one piece.
    """
    lengths = [query.shape[2]] if piece_lengths is None else list(piece_lengths)
    layer = {**arguments, "attention_mask": attention_mask}
    if piece_lengths is not None and varlen.serves(module, query, key, value, layer):
        scale = arguments.get("scaling")
        return varlen.attend(query, key, value, lengths, scale=scale, sliding_window=sliding_window), None
    # split, not slices: the gradient of a slice is a tensor as large as the whole row.
    pieces = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    outputs: list[torch.Tensor] = []
    for length, (query_piece, key_piece, value_piece) in zip(lengths, pieces, strict=True):
        mask = attention_mask
        if sliding_window is not None and length > sliding_window:
            mask = _band(length, sliding_window, query.device)
        elif mask is None and query.device.type == "cuda" and query.dtype == torch.float32:
            # On CUDA the one fused kernel for float32 has no groups of heads; without it attention takes
            # memory quadratic in the piece. (With a mask transformers repeats the heads itself.)
            groups = query_piece.shape[1] // key_piece.shape[1]
            key_piece, value_piece = (t.repeat_interleave(groups, dim=1) for t in (key_piece, value_piece))
        output, _ = sdpa_attention_forward(module, query_piece, key_piece, value_piece, mask, **arguments)
        outputs.append(output)
    return torch.cat(outputs, dim=1), None


def _band(length: int, window: int, device: torch.device) -> torch.Tensor:
    """(1, 1, T, T), True where a token attends: to itself and the `window` − 1 tokens before it."""
    distance_TT = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)[None]
    return ((distance_TT >= 0) & (distance_TT < window))[None, None]


@torch.no_grad()
def _logits(model: Any, lengths: Sequence[int]) -> torch.Tensor:
    """Logits of made-up sequences of these lengths in one row; NaN if the model refuses the row."""
    vocabulary = model.get_input_embeddings().num_embeddings
    pieces = [torch.arange(length, 2 * length, device=model.device) * 17 % vocabulary for length in lengths]
    positions = [torch.arange(length, device=model.device) for length in lengths]
    training = model.training
    model.eval()
    try:
        return model(
            input_ids=torch.cat(pieces)[None],
            position_ids=torch.cat(positions)[None],
            use_cache=False,
            piece_lengths=tuple(lengths),
        ).logits
    except TypeError:  # a forward without the argument `piece_lengths`
        return torch.full((1, sum(lengths), vocabulary), float("nan"), device=model.device)
    finally:
        model.train(training)

"""Attention for sequences packed into one row: each attends to itself only, without padding or a mask.

transformers would mask the whole row, at a cost quadratic in the row. Here a row is split where sequences
end, and every piece goes through transformers' own sdpa function with the causal kernel. On a GPU in bfloat16
one call does all pieces (`varlen.py`). `use_packed_attention` registers it under `PACKED`.

A piece may continue another one (`prefixes.py`): then it attends to its ancestors too (`rectangular.py`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from figa_core.models.soft_capping import caps_scores
from figa_core.training import varlen
from figa_core.training.model import device_of
from figa_core.training.prefixes import paths_of
from figa_core.training.rectangular import masked, softcapped

PACKED = "figa_packed"
_TRIED = (7, 9)
_TOLERANCE = 1e-3


def use_packed_attention(model: Any) -> bool:
    """Make a model attend within the pieces of a packed row; if it cannot, return False and change nothing.

    It cannot if it does not use transformers' replaceable sdpa attention, or if it also mixes neighbouring
    tokens in another way (a convolution, a recurrent state), which is found by trying.
    """
    before = model.config._attn_implementation
    # Soft-capped attention is loaded as "eager" (`models/soft_capping.py`).
    if before != ("eager" if caps_scores(model) else "sdpa") or not model._can_set_attn_implementation():
        return False
    pieces = [made_up_ids(model, length, seed=length) for length in _TRIED]
    alone = torch.cat([trial_logits(model, [piece]) for piece in pieces], dim=1)
    AttentionInterface.register(PACKED, packed_attention)
    model.set_attn_implementation(PACKED)
    if agree(trial_logits(model, pieces), alone):
        return True
    model.set_attn_implementation(before)
    return False


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    piece_lengths: Sequence[int] | None = None,
    piece_parents: tuple[int, ...] | None = None,
    sliding_window: int | None = None,
    **arguments: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention (B, H, T, D) → (B, T, H, D) within each of the pieces, whose lengths sum to T.

    Without `piece_lengths` a row is one piece. With `piece_parents` a piece also attends to its parent, to
    that one's parent and so on. `sliding_window` counts the token itself, and those of ancestors like others.
    """
    lengths = [query.shape[2]] if piece_lengths is None else list(piece_lengths)
    layer = {**arguments, "attention_mask": attention_mask}
    tree = piece_parents is not None
    if piece_lengths is not None and varlen.serves(module, query, key, value, layer, tree=tree):
        scale = arguments.get("scaling")
        how: dict[str, Any] = {"scale": scale, "sliding_window": sliding_window}
        return varlen.attend(query, key, value, lengths, parents=piece_parents, **how), None
    outputs: list[torch.Tensor] = []
    for query_piece, key_path, value_path in _pieces(query, key, value, lengths, piece_parents):
        length, seen = query_piece.shape[2], key_path.shape[2]
        piece = (module, query_piece, key_path, value_path)
        if arguments.get("softcap"):
            output = masked(softcapped, *piece, sliding_window, arguments)
        elif seen > length or (sliding_window is not None and length > sliding_window):
            output = masked(sdpa_attention_forward, *piece, sliding_window, arguments)
        else:
            output = _causal(*piece, attention_mask, arguments)
        outputs.append(output)
    return torch.cat(outputs, dim=1), None


def _pieces(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: list[int],
    parents: tuple[int, ...] | None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """The queries of each piece, and the keys and values of its ancestors and itself."""
    # split, not slices: the gradient of a slice is a tensor as large as the whole row.
    queries, keys, values = (tensor.split(lengths, dim=2) for tensor in (query, key, value))
    paths = [(piece,) for piece in range(len(lengths))] if parents is None else paths_of(parents)
    for piece, path in zip(queries, paths, strict=True):
        if len(path) == 1:
            yield piece, keys[path[0]], values[path[0]]
        else:
            yield (
                piece,
                torch.cat([keys[i] for i in path], dim=2),
                torch.cat([values[i] for i in path], dim=2),
            )


def _causal(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    arguments: dict[str, Any],
) -> torch.Tensor:
    if mask is None and query.device.type == "cuda" and query.dtype == torch.float32:
        # On CUDA the one fused kernel for float32 has no groups of heads; without it attention takes
        # memory quadratic in the piece. (With a mask transformers repeats the heads itself.)
        groups = query.shape[1] // key.shape[1]
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    return sdpa_attention_forward(module, query, key, value, mask, **arguments)[0]


def made_up_ids(model: Any, length: int, *, seed: int) -> torch.Tensor:
    """(T) of ids that the model has embeddings for."""
    vocabulary = model.get_input_embeddings().num_embeddings
    return torch.arange(seed, seed + length, device=device_of(model)) * 17 % vocabulary


def agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """To rounding in the model's dtype, and without NaN."""
    return bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max())


@torch.no_grad()
def trial_logits(
    model: Any,
    pieces: Sequence[torch.Tensor],
    *,
    parents: tuple[int, ...] | None = None,
    positions: Sequence[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Logits (1, T, V) of pieces in one row, without dropout; NaN if the model refuses the row."""
    counted = [torch.arange(len(piece), device=device_of(model)) for piece in pieces]
    tree = {} if parents is None else {"piece_parents": parents}
    training = model.training
    model.eval()
    try:
        return model(
            input_ids=torch.cat([*pieces])[None],
            position_ids=torch.cat([*(counted if positions is None else positions)])[None],
            use_cache=False,
            piece_lengths=tuple(map(len, pieces)),
            **tree,
        ).logits
    except TypeError:  # a forward without the argument `piece_lengths`
        vocabulary = model.get_input_embeddings().num_embeddings
        return torch.full((1, sum(map(len, pieces)), vocabulary), float("nan"), device=device_of(model))
    finally:
        model.train(training)

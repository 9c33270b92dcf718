"""Decoding by transformers' `generate` a few tokens at a time, so that rows that have ended leave the batch.

`generate` goes on for every row until the longest has ended. Rows that have ended would take as much time as
the others: with answers of mixed lengths, half of it.

Shapes: B rows, T tokens of the padded prompts.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
from transformers import DynamicCache

TOKENS_PER_CALL = 16
"""Small beside an answer, large beside what a call costs, which is about the time of one token on a GPU."""


def decode(
    model: Any,
    ids_BT: torch.Tensor,
    mask_BT: torch.Tensor,
    *,
    max_tokens: int,
    stops: Collection[int],
    ended: Callable[[list[int]], bool] | None = None,
    **sampling: Any,
) -> list[list[int]]:
    """What the model writes after each prompt, without the token that ends it.

    Args:
        model: with `generate`, as transformers' GenerationMixin documents it.
        ids_BT: int64 [B, T], padded on the left.
        mask_BT: int64 [B, T], 1 at the prompts' tokens.
        max_tokens: per row, at most.
        stops: ids that end a row.
        ended: whether what a row has written ends it otherwise; asked after every call of `generate`.
        sampling: arguments of `generate`.

    Returns:
        B lists; one of `max_tokens` ids did not end. One that `ended` ends may be longer than it had to be.
    """
    written: list[list[int]] = [[] for _ in range(len(ids_BT))]
    running = list(range(len(ids_BT)))
    per_call = TOKENS_PER_CALL if _can_drop_rows(model) else max_tokens
    cache, left = None, max_tokens
    while running and left:
        wanted = min(left, per_call)
        out = model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            past_key_values=cache,
            max_new_tokens=wanted,
            eos_token_id=sorted(stops),
            pad_token_id=min(stops),
            return_dict_in_generate=True,
            **sampling,
        )
        open_rows: list[int] = []
        for place, new in enumerate(out.sequences[:, ids_BT.shape[1] :].tolist()):
            end = next((i for i, token in enumerate(new) if token in stops), None)
            written[running[place]] += new[:end]
            if end is None and not (ended and ended(written[running[place]])):
                open_rows.append(place)
        left -= wanted
        running = [running[place] for place in open_rows]
        ids_BT, cache = out.sequences, out.past_key_values
        mask_BT = torch.nn.functional.pad(mask_BT, (0, ids_BT.shape[1] - mask_BT.shape[1]), value=1)
        if running and left and len(open_rows) < len(ids_BT):
            places = torch.tensor(open_rows, device=ids_BT.device)
            ids_BT, mask_BT = ids_BT[places], mask_BT[places]
            cache.batch_select_indices(places)
    return written


def _can_drop_rows(model: Any) -> bool:
    """Whether rows can leave the model's cache between two calls: not if it holds a recurrent state."""
    if getattr(model, "_is_stateful", False) or not model._supports_default_dynamic_cache():
        return False
    layers = DynamicCache(config=model.config).layers
    return not any(hasattr(layer, "update_recurrent_state") for layer in layers)

"""Whether a training runs the beginnings that its sequences share once (`prefixes.py`), and why not."""

from typing import Any

import torch
from torch import nn

from figa_core.config.training import DType, PrefixSharing
from figa_core.training import varlen
from figa_core.training.attention import agree, made_up_ids, trial_logits
from figa_core.training.model import device_of
from figa_core.training.prefixes import ROOT, paths_of

# A beginning with two branches, one of which branches again, and a sequence by itself.
_TRIED_LENGTHS = (5, 4, 3, 2, 6, 7)
_TRIED_PARENTS = (ROOT, 0, 1, 1, 0, ROOT)


def reason_against(setting: PrefixSharing, model: Any, *, packs: bool) -> str | None:
    """Why `training.prefix_sharing` with this value does not apply to the model; None if it does.

    `packs`: its sequences are packed into rows (`attention.use_packed_attention`).
    """
    if setting is False:
        return "training.prefix_sharing is off"
    if not packs:
        return "only packed rows can do that"
    if setting == "auto" and has_dropout(model):
        return "it would share the model's dropout too"
    return problem_with_model(model)


def problem_with_model(model: Any) -> str | None:
    """Why a model with packed attention cannot do it; None if it can. Found by trying."""
    pieces = [made_up_ids(model, length, seed=place) for place, length in enumerate(_TRIED_LENGTHS)]
    paths = paths_of(_TRIED_PARENTS)
    ends = [sum(_TRIED_LENGTHS[above] for above in path) for path in paths]
    positions = [
        torch.arange(end - length, end, device=device_of(model))
        for end, length in zip(ends, _TRIED_LENGTHS, strict=True)
    ]
    row = trial_logits(model, pieces, parents=_TRIED_PARENTS, positions=positions)
    of_piece = row.split(_TRIED_LENGTHS, dim=1)
    whole = trial_logits(model, [torch.cat([pieces[place] for place in path]) for path in paths])
    shared = torch.cat([of_piece[place] for path in paths for place in path], dim=1)
    return None if agree(shared, whole) else "the model's outputs would change"


def has_dropout(model: nn.Module) -> bool:
    """Whether a forward pass in training draws random numbers, in a layer or in its attention."""
    return any(
        (isinstance(module, nn.Dropout) and module.p > 0)
        or any(
            "drop" in name and isinstance(value, float) and value > 0 for name, value in vars(module).items()
        )
        for module in model.modules()
    )


def in_words(device: torch.device, dtype: DType, *, packs: bool, not_shared: str | None) -> str:
    """How a training's sequences are run, for its log; `not_shared` is what `reason_against` says."""
    shared = "with shared beginnings" if not_shared is None else f"nothing shared ({not_shared})"
    return f"{_rows(device, dtype, packs=packs, tree=not_shared is None)}, {shared}"


def _rows(device: torch.device, dtype: DType, *, packs: bool, tree: bool) -> str:
    if not packs:
        return "padded rows"
    if device.type != "cuda":
        return "packed rows"
    if dtype == "float32":
        return "packed rows, attention piece by piece"
    if problem := varlen.problem_with_device(device, tree=tree):
        return f"packed rows, attention piece by piece (not by the variable-length kernel: {problem})"
    return "packed rows, attention by the variable-length kernel"

"""How far a training moved the weights: the exported files against the base model's, tensor by tensor."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class WeightChange:
    """‖after − before‖ / ‖before‖ over all weights that both directories have, and how many values differ.

    `compared` is the number of values, `dtype` and `dtype_before` are the two models' dtypes.
    """

    relative: float
    changed: int
    compared: int
    dtype: str
    dtype_before: str


def weight_change(before: Path, after: Path) -> WeightChange | None:
    """Compare two model directories; None if they have no weight in common."""
    olds, news = _files_by_weight(before), _files_by_weight(after)
    names = sorted(olds.keys() & news.keys())
    return compared((_tensor(olds[name], name), _tensor(news[name], name)) for name in names)


def rounding_change(model: Path, dtype: str) -> float:
    """`WeightChange.relative` of a model that is only stored in another dtype."""
    import torch

    tensors = (_tensor(path, name) for name, path in sorted(_files_by_weight(model).items()))
    change = compared((tensor, tensor.to(getattr(torch, dtype))) for tensor in tensors)
    return change.relative if change else 0.0


def compared(pairs: "Iterable[tuple[torch.Tensor, torch.Tensor]]") -> WeightChange | None:
    """Of weights before and after; None if there are none."""
    squares = total = 0.0
    changed = values = 0
    dtypes = ("", "")
    for old, new in pairs:
        if old.shape != new.shape or not (old.is_floating_point() and new.is_floating_point()):
            continue
        dtypes = (_name(old), _name(new))
        difference = new.double() - old.double()
        squares += float(difference.square().sum())
        total += float(old.double().square().sum())
        changed += int((difference != 0).sum())
        values += old.numel()
    if not values:
        return None
    relative = math.sqrt(squares / total) if total else math.sqrt(squares)
    return WeightChange(relative, changed, values, dtype=dtypes[1], dtype_before=dtypes[0])


def _files_by_weight(model: Path) -> dict[str, Path]:
    from safetensors import safe_open

    found: dict[str, Path] = {}
    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


def _tensor(path: Path, name: str) -> "torch.Tensor":
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        handle: Any = file
        return handle.get_tensor(name)


def _name(tensor: "torch.Tensor") -> str:
    return str(tensor.dtype).removeprefix("torch.")

"""Writes a model's weights as Hugging Face does, a few gigabytes at a time.

Names, files and index are those of transformers' `save_pretrained`, which wants all weights at once. Here the
files are planned from shapes alone, with tensors without content, and then the weights are asked for one by
one, in the order of the files. One file's weights are in memory, and one weight more.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    PrefixChange,
    WeightConverter,
    WeightRenaming,
    rename_source_key,
    revert_weight_conversion,
)

from figa_core.errors import DivergedTrainingError
from figa_core.training.model import parameters_of

FILE_BYTES = 4_000_000_000
_INDEX = "model.safetensors.index.json"
_NAMED = 3  # broken weights in an error

WeightOf = Callable[[str], torch.Tensor]
"""The whole weight or buffer of a name in the model's `state_dict`."""


@dataclass(frozen=True, slots=True)
class WeightPlan:
    """How a model is written.

    Attributes:
        groups: the model's weights that are written together. Most groups have one; those of a group become
            other weights together, such as the experts of a layer.
        file_of: the file of each written weight, in the order of writing.
        total_bytes: of the weights, as the index states it.
        dtype: of the written weights.
    """

    groups: tuple[tuple[str, ...], ...]
    file_of: Mapping[str, str]
    total_bytes: int
    dtype: torch.dtype


def plan_weights(model: Any, dtype: torch.dtype, *, file_bytes: int = FILE_BYTES) -> WeightPlan:
    """The same on all ranks; `model` may be partitioned (ZeRO-3). Weights of one parameter are written once.

    Files take `file_bytes` at most, unless one weight alone is larger.
    """
    empty = {name: torch.empty(shape, dtype=kind, device="meta") for name, (shape, kind) in _shapes(model)}
    groups = tuple(_groups(model, empty))
    sizes = {
        name: _as_written(tensor, dtype).nbytes
        for group in groups
        for name, tensor in _reverted(model, {name: empty[name] for name in group}).items()
    }
    parts: list[list[str]] = [[]]
    size = 0
    for name, added in sizes.items():
        if parts[-1] and size + added > file_bytes:
            parts.append([])
            size = 0
        parts[-1].append(name)
        size += added
    names = _file_names(len(parts))
    file_of = {name: file for file, part in zip(names, parts, strict=True) for name in part}
    return WeightPlan(groups, file_of, sum(sizes.values()), dtype)


def gather_weights(plan: WeightPlan, weight_of: WeightOf) -> None:
    """What the other ranks do while one writes, if all must ask for a weight at once."""
    for group in plan.groups:
        for name in group:
            weight_of(name)


def write_weights(directory: Path, model: Any, plan: WeightPlan, weight_of: WeightOf) -> None:
    """Write the weights into an existing directory.

    Raises:
        DivergedTrainingError: a weight is not finite.
        OSError, SafetensorError: a file cannot be written.
    """
    held: dict[str, torch.Tensor] = {}
    file = next(iter(plan.file_of.values()))
    for name, tensor in _written(model, plan, weight_of):
        if plan.file_of[name] != file:
            _write_file(directory / file, held)
            held, file = {}, plan.file_of[name]
        held[name] = tensor
    _write_file(directory / file, held)
    if len(set(plan.file_of.values())) > 1:
        metadata = {"total_parameters": parameters_of(model), "total_size": plan.total_bytes}
        index = {"metadata": metadata, "weight_map": dict(plan.file_of)}
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (directory / _INDEX).write_text(text, encoding="utf-8")


def _written(model: Any, plan: WeightPlan, weight_of: WeightOf) -> Iterator[tuple[str, torch.Tensor]]:
    broken: list[str] = []
    for group in plan.groups:
        found = {name: weight_of(name).detach() for name in group}
        broken += [name for name, tensor in found.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            if len(broken) >= _NAMED:
                break
            continue  # nothing more is written, but the error names a few
        for name, tensor in _reverted(model, found).items():
            yield name, _own(_as_written(tensor, plan.dtype))
    if broken:
        raise DivergedTrainingError(
            f"the trained weights hold NaN or infinity ({', '.join(broken[:_NAMED])}), so nothing is "
            "exported. Lower the learning rate, or train in float32."
        )


def _write_file(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, path, metadata={"format": "pt"})


def _shapes(model: Any) -> Iterator[tuple[str, tuple[torch.Size, torch.dtype]]]:
    """Shape and dtype of each parameter, under one of its names, and of each persistent buffer."""
    tied = getattr(model, "all_tied_weights_keys", {})
    named: dict[int, str] = {}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, parameter in parameters.items():
        if id(parameter) not in named or named[id(parameter)] in tied:
            named[id(parameter)] = name
    ignored = set(model._keys_to_ignore_on_save or ())
    for name, value in model.state_dict(keep_vars=True).items():
        if name in ignored or (name in parameters and named[id(parameters[name])] != name):
            continue
        yield name, (getattr(value, "ds_shape", value.shape), value.dtype)


def _groups(model: Any, empty: dict[str, torch.Tensor]) -> list[tuple[str, ...]]:
    """The weights that transformers converts together; all of them, if that is not the same as one by one."""
    back = [conversion.reverse_transform() for conversion in reversed(_conversions(model))]
    renamings = [each for each in back if isinstance(each, WeightRenaming)]
    converters = [each for each in back if isinstance(each, WeightConverter)]
    together: dict[str, list[str]] = {}
    for name in empty:
        target, _ = rename_source_key(name, renamings, converters, reverse=True)
        together.setdefault(target, []).append(name)
    groups = [tuple(group) for group in together.values()]
    parts = [_reverted(model, {name: empty[name] for name in group}) for group in groups]
    one_by_one = {name: tensor.shape for part in parts for name, tensor in part.items()}
    at_once = {name: tensor.shape for name, tensor in _reverted(model, empty).items()}
    return groups if one_by_one == at_once else [tuple(empty)]


def _conversions(model: Any) -> list[Any]:
    """Those that `revert_weight_conversion` reverts."""
    used = getattr(model, "_weight_conversions", None)
    if used is not None:
        return used
    return [
        each
        for each in get_model_conversion_mapping(model, add_legacy=False)
        if not isinstance(each, PrefixChange)
    ]


def _reverted(model: Any, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Under the names and in the shapes of the files that the model was loaded from."""
    return revert_weight_conversion(model, dict(weights))


def _as_written(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """In memory of its own, as a file of safetensors wants it."""
    if tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes:
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def _file_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]

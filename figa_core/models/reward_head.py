"""Where a reward model keeps its head, and which of its values is the reward.

Engines load one form: transformers' sequence classifier with one label. Published reward models have others:
a head under another name (TRL's `v_head.summary`, `value_head`, `regression_head`, `score_head`), in a file
of its own (LLaMA-Factory's), or with several labels. A head is recognised by its shape: a row of the hidden
size for each label, outside of the layers. `plain_reward` writes the form that engines load.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.models.config_json import hidden_size, label_count, label_names
from figa_core.models.safetensors import Tensor, read_header

HEADS = ("score", "classifier", "classification_head")
"""The names of transformers' classification heads."""
HEAD = "score.weight"
"""The head of transformers' decoders."""
OWN_FILE = "value_head.safetensors"
_LABELS_MAX = 32  # a matrix with more rows is another part of the model
_FLOATS = {"F64", "F32", "F16", "BF16"}
_NO_HEADS = ("embed", "lm_head", "wte", "wpe", "gating")  # parts of names of other matrices of that shape


@dataclass(frozen=True, slots=True)
class RewardHead:
    """The weights with a row for each label; `names` are the labels'.

    `bias` is that of a head under another name, which transformers' decoders have no place for.
    """

    weights: tuple[Tensor, ...]
    names: tuple[str, ...]
    foreign: bool
    bias: Tensor | None = None

    @property
    def said(self) -> str:
        """The head's name, for people."""
        return self.weights[0].name if self.weights else HEAD


def has_head(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a weight belongs to a classification head, judged by its name."""
    return any(name.removeprefix("model.").split(".")[0] in HEADS for name in tensors)


def head_file(model: Path) -> dict[str, Tensor]:
    """The weights of a head that is saved in a file of its own; none without one. Raises EngineError."""
    path = model / OWN_FILE
    return {tensor.name: tensor for tensor in read_header(path)} if path.is_file() else {}


def reward_head(model: Path, config: dict[str, Any], tensors: Mapping[str, Tensor]) -> RewardHead | None:
    """The head of a model with this config.json and these weights; None if there is none.

    Raises:
        EngineError: several weights may be the head.
    """
    if has_head(tensors):
        count = label_count(config)
        rows = [
            tensor
            for name, tensor in tensors.items()
            if name.removeprefix("model.").split(".")[0] in HEADS and tensor.shape[:1] == (count,)
        ]
        return RewardHead(tuple(rows), label_names(config, count), foreign=False)
    found = [tensor for tensor in tensors.values() if _is_head(tensor, hidden_size(config))]
    if len(found) > 1:
        raise EngineError(
            f"{model}: several weights may be the head of a reward model "
            f"({', '.join(sorted(tensor.name for tensor in found))}). Save the model with the right one "
            f"as {HEAD}."
        )
    if not found:
        return None
    head, count = found[0], found[0].shape[0]
    bias = tensors.get(head.name.removesuffix("weight") + "bias")
    return RewardHead((head,), label_names(config, count), foreign=True, bias=bias)


def label_index(model: Path, head: RewardHead, label: int | str | None) -> int:
    """The row of the head that is the reward; `label` is its number, its name, or None for the only one.

    Raises:
        EngineError: there are several labels and none is named, or it is not one of them.
    """
    count = len(head.names)
    numbered = ", ".join(f"{number}: {name}" for number, name in enumerate(head.names))
    if label is None:
        if count == 1:
            return 0
        raise EngineError(
            f"{model}: a reward model has one label, this one has {count} ({numbered}). Say which of them is "
            f"the reward, such as reward.label = {count - 1}, or set reward.model to another model."
        )
    if label in head.names:
        return head.names.index(str(label))
    number = int(label) if str(label).isdecimal() else -1
    if not 0 <= number < count:
        raise EngineError(f"{model}: has no label {label!r} (reward.label); it has {numbered}.")
    return number


def as_loaded(tensors: Mapping[str, Tensor], head: RewardHead | None) -> dict[str, Tensor]:
    """The weights under the names that transformers gives them."""
    if head is None or not head.foreign:
        return dict(tensors)
    (weight,), bias = head.weights, head.bias
    gone = {weight.name, bias.name if bias else ""}
    return {name: tensor for name, tensor in tensors.items() if name not in gone} | {HEAD: weight}


def _is_head(tensor: Tensor, width: int | None) -> bool:
    parts = tensor.name.split(".")
    return (
        len(tensor.shape) == 2
        and tensor.dtype in _FLOATS
        and tensor.shape[1] == width
        and tensor.shape[0] <= _LABELS_MAX
        and parts[-1] == "weight"
        and not any(part.isdecimal() for part in parts)
        and not any(word in tensor.name for word in _NO_HEADS)
    )

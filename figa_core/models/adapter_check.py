"""Checks, without loading them, that an adapter's updates fit its base model."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.models.adapter import WEIGHTS, Base, settings_of
from figa_core.models.role import ModelRole
from figa_core.models.safetensors import Tensor, read_header
from figa_core.models.weight_files import ADAPTER, names

_UPDATE = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


def adapter_problems(adapter: Path, role: ModelRole) -> list[str]:
    """What is wrong with the adapter's own files."""
    if role is ModelRole.REWARD:
        return [
            f"{adapter}: is an adapter; a reward model must be a whole model. Merge it into its base (PEFT's "
            "merge_and_unload), and give the result."
        ]
    try:
        kind = settings_of(adapter).get("peft_type")
        tensors = read_header(adapter / WEIGHTS)
    except EngineError as error:
        return [str(error)]
    if kind != "LORA":
        return [f"{adapter / ADAPTER}: is an adapter of type {kind!r}; only LORA is taken here. Merge it."]
    if not any(_UPDATE.fullmatch(tensor.name) for tensor in tensors):
        return [f"{adapter / WEIGHTS}: holds no updates (lora_A, lora_B). Fetch the adapter again."]
    return []


def misfits(adapter: Path, base: Base, empty: Any) -> list[str]:
    """Updates that the base model has no matrix for; `empty` is the base without content.

    Raises:
        EngineError: the adapter's weights cannot be read.
    """
    found = list(_misfits(read_header(adapter / WEIGHTS), dict(empty.named_modules())))
    if not found:
        return []
    return [
        f"{adapter}: is an adapter of another base model than {base.directory}: its updates of "
        f"{names(found)} do not fit. Name its own base model in {ADAPTER}."
    ]


def _misfits(tensors: list[Tensor], modules: dict[str, Any]) -> Iterator[str]:
    for tensor in tensors:
        if not (update := _UPDATE.fullmatch(tensor.name)):
            continue
        weight = getattr(modules.get(update["module"]), "weight", None)
        # A has the shape (rank, in) and B (out, rank); GPT-2's matrices are (in, out), others (out, in).
        size = tensor.shape[-1] if update["side"] == "A" else tensor.shape[0]
        if weight is None or size not in weight.shape:
            yield update["module"]

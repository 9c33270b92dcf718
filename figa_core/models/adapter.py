"""LoRA adapters in peft's format: a directory without a model of its own, which names its base model.

    adapter_config.json          peft's: rank, modules, and the base model's directory
    adapter_model.safetensors    peft's: the updates of the base's weights
    base_model.json              ours: the base's fingerprint; adapters of other tools have none

An adapter is given where a model is given. What is read of a model without its weights is read of the base
(`underlying`), and the tokenizer and templates of both, the adapter's own files first (`with_all_files`). To
load it, its weights are merged once (`training/merging.py`).
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.files import write_whole
from figa_core.models.config_json import read_object
from figa_core.models.weight_files import ADAPTER, has_weights

WEIGHTS = "adapter_model.safetensors"
BASE_RECORD = "base_model.json"
_BASE = "base_model_name_or_path"
_WEIGHT_SUFFIXES = frozenset((".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".lock", ".partial"))
_OF_WEIGHTS = ("*.index.json", ADAPTER, BASE_RECORD)


@dataclass(frozen=True, slots=True)
class Base:
    """The model that an adapter belongs to; `fingerprint` is None if it was not recorded."""

    directory: Path
    fingerprint: str | None


def is_adapter(model: Path) -> bool:
    """Whether the directory holds an adapter, and no whole model beside it."""
    return (model / ADAPTER).exists() and not has_weights(model)


def base_of(adapter: Path) -> Base:
    """The base model that the adapter names.

    Raises:
        EngineError: it names none, the directory is not there, or it is an adapter itself.
    """
    path, base = adapter / ADAPTER, named_base(adapter)
    if not base.is_dir():
        raise EngineError(
            f"{path}: the adapter's base model {base} is not a directory here. Write the directory of that "
            f"model there, as {_BASE}."
        )
    if is_adapter(base):
        raise EngineError(
            f"{path}: the adapter's base model {base} is an adapter too. Merge that into its own base "
            "(PEFT's merge_and_unload), and name the result."
        )
    return Base(base, _recorded_fingerprint(adapter))


def named_base(adapter: Path) -> Path:
    """The directory of the base model, which may not be on this machine. Raises EngineError without one."""
    path = adapter / ADAPTER
    named = read_object(path, "Fetch the adapter again.").get(_BASE)
    if not isinstance(named, str) or not named:
        raise EngineError(f"{path}: names no base model. Write its directory there, as {_BASE}.")
    return Path(named)


def underlying(model: Path) -> Path:
    """The directory with the model's config.json and whole weights: the base's if it is an adapter.

    Raises:
        EngineError: see `base_of`.
    """
    return base_of(model).directory if is_adapter(model) else model


def settings_of(adapter: Path) -> dict[str, Any]:
    """adapter_config.json without the place of the base model. Raises EngineError if it cannot be read."""
    found = read_object(adapter / ADAPTER, "Fetch the adapter again.")
    return {name: value for name, value in found.items() if name != _BASE}


def record_base(adapter: Path, base: Path, fingerprint: str) -> None:
    """Write the base's fingerprint beside the adapter. Raises OSError."""
    fields = {"directory": str(base.resolve()), "fingerprint": fingerprint}
    write_whole(adapter / BASE_RECORD, (json.dumps(fields, indent=2) + "\n").encode())


def other_base(adapter: Path, base: Base, found: str) -> str:
    """The message about a base model that is not the recorded one."""
    return (
        f"{adapter}: it was trained on another base model than {base.directory} now holds (fingerprint "
        f"{(base.fingerprint or '')[:12]}, found {found[:12]}). Write the directory of the model that it was "
        f"trained on into {ADAPTER}, as {_BASE}."
    )


@contextlib.contextmanager
def with_all_files(model: Path) -> Iterator[Path]:
    """A directory with the config, tokenizer and template files of a model; that of a whole model itself.

    Of an adapter it has those of the base, and in their place the adapter's own, as links, until the end of
    the context.

    Raises:
        EngineError: see `base_of`.
    """
    if not is_adapter(model):
        yield model
        return
    base = base_of(model).directory
    with tempfile.TemporaryDirectory(prefix="figa-adapter-") as name:
        together = Path(name)
        for directory in (base, model):
            for source in _files(directory):
                link = together / source.relative_to(directory)
                link.parent.mkdir(exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(source.resolve())
        yield together


def _files(directory: Path) -> Iterator[Path]:
    left_out = {path for pattern in _OF_WEIGHTS for path in directory.glob(pattern)}
    for path in (*directory.iterdir(), *(directory / "additional_chat_templates").glob("*")):
        if path.suffix not in _WEIGHT_SUFFIXES and path not in left_out and path.is_file():
            yield path


def _recorded_fingerprint(adapter: Path) -> str | None:
    path = adapter / BASE_RECORD
    if not path.exists():
        return None
    found = read_object(path, "").get("fingerprint")
    if not isinstance(found, str):
        raise EngineError(f"{path}: has no fingerprint of the base model. Fetch the adapter again.")
    return found

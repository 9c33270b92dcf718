"""What a Hugging Face model directory says of itself, read without loading the model.

vLLM runs in another interpreter, so what both engines must agree on is read from the files here.
"""

import json
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError

_DEFAULT_LABELS = 2  # transformers' own, where config.json names none
_HEADER_LENGTH_BYTES = 8
_SAFETENSORS_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def checkpoint_dtype(model: Path) -> str:
    """The dtype in which transformers loads `model` with ``dtype="auto"``, by torch's name for it.

    It is config.json's, or else that of the first floating-point weight. "auto" where neither tells.

    Raises:
        EngineError: there is no readable config.json in `model`.
    """
    config = _config(model)
    for section in (config, config.get("text_config") or {}):
        if dtype := section.get("dtype") or section.get("torch_dtype"):
            return str(dtype).removeprefix("torch.")
    return next(
        (dtype for path in sorted(model.glob("*.safetensors")) if (dtype := _weights_dtype(path))), "auto"
    )


def weights_bytes(model: Path) -> int:
    """The size of all safetensors files in `model`."""
    return sum(path.stat().st_size for path in model.glob("*.safetensors"))


def require_one_label(model: Path) -> None:
    """Raise EngineError unless `model` is a classifier with one label, as a reward model is."""
    config = _config(model)
    labels = config.get("num_labels") or len(config.get("id2label") or ()) or _DEFAULT_LABELS
    if labels != 1:
        raise EngineError(
            f"{model}: a reward model has one label, this one has {labels}. Set reward.model to another."
        )


def _config(model: Path) -> dict[str, Any]:
    path = model / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EngineError(
            f"{path}: cannot read it: {error.strerror}. Give the path of a Hugging Face model directory."
        ) from error
    except ValueError as error:
        raise EngineError(f"{path}: not valid JSON: {error}. Fetch the model again.") from error
    if not isinstance(config, dict):
        raise EngineError(f"{path}: not a JSON object. Fetch the model again.")
    return config


def _weights_dtype(path: Path) -> str | None:
    """The dtype of the first floating-point weight of a safetensors file, from its JSON header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
        try:
            header = json.loads(file.read(length))
        except (ValueError, OverflowError, MemoryError):
            return None  # a damaged file; the engine that loads it says so
    names = (weight.get("dtype") for name, weight in header.items() if name != "__metadata__")
    return next((_SAFETENSORS_DTYPES[name] for name in names if name in _SAFETENSORS_DTYPES), None)

"""Writes a reward model in the form that engines load: a sequence classifier with one label, `score.weight`.

Files are linked, except those that hold the head: these are copied without it, byte by byte, so that the
dtype does not matter and no weight is loaded. A bias that the classifier has no place for is written into
config.json, and scorers add it.
"""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from figa_core.errors import EngineError
from figa_core.models.check import examine
from figa_core.models.config_json import CONFIG, read_config
from figa_core.models.reward_head import HEAD, RewardHead, head_file, label_index
from figa_core.models.role import ModelRole
from figa_core.models.safetensors import LENGTH_BYTES, Tensor
from figa_core.models.weight_files import read_weights

_OFFSET = "figa_reward_offset"
_HEAD_FILE = "reward-head.safetensors"
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
_CHUNK_BYTES = 1 << 22
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A weight to write: the bytes from `begin` to `end` of `file`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    begin: int
    end: int


def is_plain(head: RewardHead) -> bool:
    """Whether engines load a model with this head as it is."""
    return not head.foreign and len(head.names) == 1


def is_plain_form_of(model: Path, target: Path) -> bool:
    """Whether `target` is there, and its links lead to the files of `model`: these may have been moved."""
    if not target.is_dir():
        return False
    files = {path.resolve() for path in model.iterdir()}
    return all(path.resolve() in files for path in target.iterdir() if path.is_symlink())


def reward_offset(model: Path) -> float:
    """What is added to the value of the head; 0 except for a plain form that lost its bias.

    Raises:
        EngineError: config.json cannot be read.
    """
    return float(read_config(model).get(_OFFSET, 0.0))


def write_plain_form(
    model: Path, target: Path, label: int | str | None, chat_template: str | None = None
) -> None:
    """Write the plain form of `model` to the directory `target`, which appears when it is whole.

    A `chat_template` (Jinja) takes the place of the model's own.

    Raises:
        EngineError: the model has problems (`check.examine`), or the disk does not take it.
    """
    found = examine(model, ModelRole.REWARD, label)
    if found.problems or found.head is None:
        raise EngineError("\n".join(found.problems) or f"{model}: has no classification head.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as name:
            made = Path(name, "model")
            made.mkdir()
            _write_weights_of(model, found.head, label_index(model, found.head, label), made)
            _write_companions(model, made, chat_template)
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
    except OSError as error:
        raise EngineError(
            f"{target}: cannot write the form of {model} that engines load: {error.strerror or error}. "
            "Free space there, or correct the permissions."
        ) from error


def _write_weights_of(model: Path, head: RewardHead, label: int, made: Path) -> None:
    tensors = {**read_weights(model).tensors, **head_file(model)}
    moved = {tensor.name for tensor in head.weights} | ({head.bias.name} if head.bias else set())
    files = sorted({tensor.file for tensor in tensors.values()})
    placed: dict[str, str] = {}
    for number, file in enumerate(files, start=1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        kept = [tensor for tensor in tensors.values() if tensor.file == file and tensor.name not in moved]
        if not kept:
            continue
        placed.update((tensor.name, name) for tensor in kept)
        if len(kept) < sum(tensor.file == file for tensor in tensors.values()):
            _write_file(made / name, [_piece(tensor) for tensor in kept])
        else:
            (made / name).symlink_to(file.resolve())
    rows = [_row(tensor, label, HEAD if head.foreign else tensor.name) for tensor in head.weights]
    _write_file(made / _HEAD_FILE, rows)
    placed.update((row.name, _HEAD_FILE) for row in rows)
    index = {"metadata": {}, "weight_map": placed}
    (made / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (made / CONFIG).write_text(json.dumps(_config(model, head, label), indent=2))


def _write_companions(model: Path, made: Path, chat_template: str | None) -> None:
    written = {CONFIG} if chat_template is None else {CONFIG, *_TEMPLATES}
    for path in model.iterdir():
        if not path.name.endswith((".safetensors", ".index.json")) and path.name not in written:
            (made / path.name).symlink_to(path.resolve(), target_is_directory=path.is_dir())
    if chat_template is not None:
        (made / _TEMPLATES[0]).write_text(chat_template)


def _config(model: Path, head: RewardHead, label: int) -> dict[str, Any]:
    config = read_config(model)
    config.pop("auto_map", None)  # code from outside, which is not run
    config.pop("num_labels", None)
    name = head.names[label]
    config |= {"id2label": {"0": name}, "label2id": {name: 0}}
    if head.foreign:
        config["architectures"] = [_classifier(str(config.get("model_type")))]
    if head.bias is not None:
        config[_OFFSET] = _value(head.bias, label)
    return config


def _classifier(model_type: str) -> str:
    """The name of transformers' sequence classifier of this type; the checks have found that there is one."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    return str(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES[model_type])


def _value(bias: Tensor, place: int) -> float:
    size = (bias.end - bias.begin) // math.prod(bias.shape)
    with bias.file.open("rb") as file:
        file.seek(bias.begin + place * size)
        body = file.read(size)
    if bias.dtype == "BF16":  # the upper half of a float32
        return float(np.frombuffer(b"\0\0" + body, "<f4")[0])
    return float(np.frombuffer(body, _NUMPY[bias.dtype])[0])


def _piece(tensor: Tensor) -> _Piece:
    return _Piece(tensor.name, tensor.dtype, tensor.shape, tensor.file, tensor.begin, tensor.end)


def _row(tensor: Tensor, row: int, name: str) -> _Piece:
    size = (tensor.end - tensor.begin) // tensor.shape[0]
    begin = tensor.begin + row * size
    return _Piece(name, tensor.dtype, (1, *tensor.shape[1:]), tensor.file, begin, begin + size)


def _write_file(path: Path, pieces: Iterable[_Piece]) -> None:
    """A safetensors file of these weights."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end, ordered = 0, list(pieces)
    for piece in ordered:
        begin, end = end, end + piece.end - piece.begin
        header[piece.name] = {"dtype": piece.dtype, "shape": piece.shape, "data_offsets": [begin, end]}
    body = json.dumps(header).encode()
    body += b" " * (-len(body) % LENGTH_BYTES)
    with path.open("wb") as file:
        file.write(len(body).to_bytes(LENGTH_BYTES, "little") + body)
        for piece in ordered:
            for chunk in _chunks(piece):
                file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _chunks(piece: _Piece) -> Iterator[bytes]:
    with piece.file.open("rb") as file:
        file.seek(piece.begin)
        for place in range(piece.begin, piece.end, _CHUNK_BYTES):
            yield file.read(min(_CHUNK_BYTES, piece.end - place))

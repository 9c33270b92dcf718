"""The headers of safetensors files: names, types and shapes of a model's weights, without the weights.

A file consists of eight bytes with the header's length, the header (JSON), and the values. Every read here is
bounded. A file that is inconsistent gets a clear error; an interrupted download is the usual cause.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.files import open_regular

LENGTH_BYTES = 8
_HEADER_BYTES_MAX = 100_000_000  # the limit of the format
_BEGINNING = 512
_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One weight: bytes `begin` to `end` of `file`; `dtype` as the format names it (BF16)."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: Path) -> list[Tensor]:
    """The weights in `file`, in the order of their bytes.

    Raises:
        EngineError: the file cannot be read, has another format, or is not complete; the message says what it
            is instead, and what to do.
    """
    try:
        size = file.stat().st_size
        with open_regular(file) as opened:
            beginning = opened.read(_BEGINNING)
            length = int.from_bytes(beginning[:LENGTH_BYTES], "little")
            if length > _HEADER_BYTES_MAX or len(beginning) < LENGTH_BYTES:
                raise _unreadable(file, _something_else(beginning))
            opened.seek(LENGTH_BYTES)
            body = opened.read(length)
    except OSError as error:
        raise EngineError(f"{file}: cannot read it: {error.strerror}.") from error
    if len(body) < length:
        raise _unreadable(file, f"it ends within its header, after {size:,} bytes. Fetch it again.")
    tensors = _tensors(file, body, LENGTH_BYTES + length)
    end = tensors[-1].end if tensors else LENGTH_BYTES + length
    if end != size:
        what = "it ends too early" if size < end else "something follows its weights"
        sizes = f"{size:,} bytes, of which its header describes {end:,}"
        raise _unreadable(file, f"{what} ({sizes}). Fetch it again.")
    return tensors


def git_lfs_pointer(beginning: bytes) -> bool:
    """Whether a file that begins like this is a git-lfs pointer to one that was not fetched."""
    return beginning.startswith(b"version https://git-lfs.github.com/")


LFS_ADVICE = 'it is a git-lfs pointer, not the file itself. Run "git lfs pull" there, or download it.'


def _unreadable(file: Path, why: str) -> EngineError:
    return EngineError(f"{file}: cannot be read: {why}")


def _something_else(beginning: bytes) -> str:
    """What a file that is not safetensors is instead, and what to do."""
    if not beginning:
        return "it is empty. Fetch it again."
    if git_lfs_pointer(beginning):
        return LFS_ADVICE
    if beginning.lstrip()[:1] == b"<":
        return "it is a web page (a login or error page, say), not weights. Fetch it again."
    if beginning.startswith((b"PK\x03\x04", b"\x80\x02")):
        return "it is a pickle, and pickled weights are not loaded. Convert the model to safetensors."
    if len(beginning) < LENGTH_BYTES:
        return f"it ends after {len(beginning)} bytes. Fetch it again."
    return "it is not a safetensors file. Fetch it again."


def _tensors(file: Path, body: bytes, data_begins: int) -> list[Tensor]:
    try:
        header = json.loads(body)
        if not isinstance(header, dict):
            raise ValueError("it is not a JSON object")
        found = [
            _tensor(file, name, entry, data_begins)
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        damage = f"{type(error).__name__}: {error}"
        raise _unreadable(file, f"its header is damaged ({damage}). Fetch it again.") from error
    found.sort(key=lambda tensor: (tensor.begin, tensor.end))
    begins = [data_begins, *(tensor.end for tensor in found)]
    if wrong := next((t for t, begin in zip(found, begins, strict=False) if t.begin != begin), None):
        raise _unreadable(file, f"{wrong.name} does not begin at the end of another weight. Fetch it again.")
    return found


def _tensor(file: Path, name: str, entry: Any, data_begins: int) -> Tensor:
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(isinstance(n, int) and n >= 0 for n in (begin, end, *shape)) or end < begin:
        raise ValueError(f"{name} has impossible numbers")
    item = _ITEM_BYTES.get(entry["dtype"])
    if item is not None and end - begin != item * math.prod(shape):
        raise ValueError(f"{name} has {end - begin} bytes for shape {list(shape)} of {entry['dtype']}")
    return Tensor(name, file, str(entry["dtype"]), shape, data_begins + begin, data_begins + end)

"""Finds weights that are not finite, or that were never downloaded.

One NaN in a norm makes every token and every reward NaN. A download into preallocated space that is
interrupted leaves zeros, in a file of the right size. `value_problems` reads samples, in milliseconds: small
weights (norms, biases) in full, and the beginning and the middle of the others. `file_not_finite` reads the
whole file; it runs when the file is hashed.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from figa_core.errors import EngineError
from figa_core.files import open_regular
from figa_core.models.safetensors import Tensor, read_header

_WHOLE_BYTES = 1 << 16
_SAMPLE_BYTES = 1 << 13
_CHUNK_BYTES = 1 << 20  # stays in the cache: four times as fast as 16 MiB
# An unsigned type of the same width, and the bits that are all set only in infinities and NaNs.
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0 << 48),
    "F32": ("<u4", 0x7F80 << 16),
    "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
}
_ZEROS_SHARE_MAX = 0.1
_MASK = "masked_bias"  # a buffer of models like GPT-2: minus infinity in half precision, and never loaded


def value_problems(tensors: Iterable[Tensor]) -> list[str]:
    """The problems of sampled values; raises OSError."""
    by_file: dict[Path, list[Tensor]] = {}
    for tensor in _floating(tensors):
        by_file.setdefault(tensor.file, []).append(tensor)
    return [problem for path, held in sorted(by_file.items()) if (problem := _problem_of(path, held))]


def file_not_finite(path: Path) -> str | None:
    """The name of the first weight with a NaN or an infinity; None if there is none, or the file is not
    safetensors. Raises OSError.
    """
    try:
        tensors = read_header(path)
    except EngineError:
        return None
    with open_regular(path) as file:
        for tensor in _floating(tensors):
            file.seek(tensor.begin)
            for begin in range(tensor.begin, tensor.end, _CHUNK_BYTES):
                if _any_not_finite(file.read(min(_CHUNK_BYTES, tensor.end - begin)), tensor.dtype):
                    return tensor.name
    return None


def not_finite(file: Path, weight: str) -> str:
    """The message about a weight with a NaN or an infinity."""
    return f"{file}: {weight} holds NaN or infinite values. Fetch it again, or give an earlier checkpoint."


def _problem_of(path: Path, held: list[Tensor]) -> str | None:
    matrices = [tensor for tensor in held if len(tensor.shape) > 1 and tensor.end > tensor.begin]
    zeros = []
    with open_regular(path) as file:
        for tensor in held:
            pieces = [_read(file, begin, end) for begin, end in _sampled(tensor)]
            if any(_any_not_finite(piece, tensor.dtype) for piece in pieces):
                return not_finite(path, tensor.name)
            if tensor in matrices and not any(piece.strip(b"\0") for piece in pieces):
                zeros.append(tensor.name)
    if len(zeros) <= _ZEROS_SHARE_MAX * len(matrices):
        return None
    return (
        f"{path}: {len(zeros)} of {len(matrices)} matrices hold only zeros ({zeros[0]}): the download was "
        "interrupted. Fetch it again."
    )


def _read(file: BinaryIO, begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(end - begin)


def _floating(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    return (t for t in tensors if t.dtype in _EXPONENTS and not t.name.endswith(_MASK))


def _sampled(tensor: Tensor) -> list[tuple[int, int]]:
    size = tensor.end - tensor.begin
    if size <= _WHOLE_BYTES:
        return [(tensor.begin, tensor.end)]
    middle = tensor.begin + size // 2 // 8 * 8
    return [(tensor.begin, tensor.begin + _SAMPLE_BYTES), (middle, middle + _SAMPLE_BYTES)]


def _any_not_finite(body: bytes, dtype: str) -> bool:
    kind, exponent = _EXPONENTS[dtype]
    bits = np.frombuffer(body, dtype=kind)
    return bool(((bits & bits.dtype.type(exponent)) == exponent).any())

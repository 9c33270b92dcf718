"""Finds weights that are not finite, or that never arrived.

One NaN in a norm makes every token and every reward NaN. A download into room that was set aside leaves zeros
where it broke off, in a file of the right size. `value_problems` looks at a part, in milliseconds: small
weights (norms, biases) whole, of every other one its beginning and its middle. `file_not_finite` reads a file
to its end; it is run where the file is hashed.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from figa_core.files import open_regular
from figa_core.models.safetensors import Tensor, UnreadableWeightsError, read_header

_WHOLE_BYTES = 1 << 16
_SAMPLE_BYTES = 1 << 13
_CHUNK_BYTES = 1 << 20  # stays in the cache: four times as fast as 16 MiB
# An unsigned type of the same width, and the bits that are all set in infinities and NaNs alone.
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0 << 48),
    "F32": ("<u4", 0x7F80 << 16),
    "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
}
_EMPTY_SHARE_MAX = 0.1
_MASKS = ("masked_bias",)  # a buffer of GPT-2's relatives: minus infinity in half precision, and never loaded


def value_problems(tensors: Iterable[Tensor]) -> list[str]:
    """What is wrong with the values that are sampled; raises OSError."""
    by_file: dict[Path, list[Tensor]] = {}
    for tensor in _floating(tensors):
        by_file.setdefault(tensor.file, []).append(tensor)
    found = (_problem_of(path, held) for path, held in sorted(by_file.items()))
    return [problem for problem in found if problem]


def file_not_finite(path: Path) -> str | None:
    """The name of the first weight in a safetensors file with a NaN or an infinity; None without one, and
    for what is no such file. Raises OSError.
    """
    try:
        tensors = read_header(path)
    except UnreadableWeightsError:
        return None
    with open_regular(path) as file:
        for tensor in _floating(tensors):
            file.seek(tensor.begin)
            for begin in range(tensor.begin, tensor.end, _CHUNK_BYTES):
                if _holds_any(file.read(min(_CHUNK_BYTES, tensor.end - begin)), tensor.dtype):
                    return tensor.name
    return None


def not_finite(file: Path, weight: str) -> str:
    """The message about weights with a NaN or an infinity."""
    return f"{file}: {weight} holds NaN or infinite values. Fetch it again, or give an earlier checkpoint."


def _problem_of(path: Path, held: list[Tensor]) -> str | None:
    matrices = [tensor for tensor in held if len(tensor.shape) > 1 and tensor.end > tensor.begin]
    empty = []
    with open_regular(path) as file:
        for tensor in held:
            pieces = [_read(file, begin, end) for begin, end in _sampled(tensor)]
            if any(_holds_any(piece, tensor.dtype) for piece in pieces):
                return not_finite(path, tensor.name)
            if tensor in matrices and not any(piece.strip(b"\0") for piece in pieces):
                empty.append(tensor.name)
    if len(empty) <= _EMPTY_SHARE_MAX * len(matrices):
        return None
    return (
        f"{path}: {len(empty)} of {len(matrices)} matrices hold nothing but zeros ({empty[0]}): the download "
        "did not finish. Fetch it again."
    )


def _read(file: BinaryIO, begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(end - begin)


def _floating(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    return (t for t in tensors if t.dtype in _EXPONENTS and not t.name.endswith(_MASKS))


def _sampled(tensor: Tensor) -> list[tuple[int, int]]:
    size = tensor.end - tensor.begin
    if size <= _WHOLE_BYTES:
        return [(tensor.begin, tensor.end)]
    middle = tensor.begin + size // 2 // 8 * 8
    return [(tensor.begin, tensor.begin + _SAMPLE_BYTES), (middle, middle + _SAMPLE_BYTES)]


def _holds_any(body: bytes, dtype: str) -> bool:
    kind, exponent = _EXPONENTS[dtype]
    bits = np.frombuffer(body, dtype=kind)
    return bool(((bits & bits.dtype.type(exponent)) == exponent).any())

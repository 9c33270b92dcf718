"""Weights that are no numbers: one NaN in a norm makes every token and every reward NaN.

`first_not_finite` looks at a part, in milliseconds: small weights (norms, biases) whole, of every other one
its beginning and its middle. `file_not_finite` reads a file to its end; it is run where the file is hashed.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

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
_MASKS = ("masked_bias",)  # a buffer of GPT-2's relatives: minus infinity in half precision, and never loaded


def first_not_finite(tensors: Iterable[Tensor]) -> Tensor | None:
    """The first weight with a NaN or an infinity in the part that is looked at; raises OSError."""
    by_file: dict[Path, list[Tensor]] = {}
    for tensor in _floating(tensors):
        by_file.setdefault(tensor.file, []).append(tensor)
    for path, held in by_file.items():
        with path.open("rb") as file:
            for tensor in held:
                for begin, end in _sampled(tensor):
                    file.seek(begin)
                    if _holds_any(file.read(end - begin), tensor.dtype):
                        return tensor
    return None


def file_not_finite(path: Path) -> str | None:
    """The name of the first weight in a safetensors file with a NaN or an infinity; None without one, and
    for what is no such file. Raises OSError.
    """
    try:
        tensors = read_header(path)
    except UnreadableWeightsError:
        return None
    with path.open("rb") as file:
        for tensor in _floating(tensors):
            file.seek(tensor.begin)
            for begin in range(tensor.begin, tensor.end, _CHUNK_BYTES):
                if _holds_any(file.read(min(_CHUNK_BYTES, tensor.end - begin)), tensor.dtype):
                    return tensor.name
    return None


def not_finite(file: Path, weight: str) -> str:
    """What is said of weights with a NaN or an infinity."""
    return f"{file}: {weight} holds NaN or infinite values. Fetch it again, or give an earlier checkpoint."


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

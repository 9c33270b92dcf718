"""A user's folder with tasks in lm-eval's format."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from figa_core.errors import InputError
from figa_core.ids import file_fingerprint


def tasks_hash(folder: Path) -> str:
    """SHA-256 (hex) of the names and the content of its files: definitions, code and data.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in _files(folder):
        try:
            found = file_fingerprint(path)
        except OSError as error:
            raise InputError(
                f"{path}: a file in evaluation.harness.include_path cannot be read: "
                f"{error.strerror or error}. Correct its permissions, or move it elsewhere."
            ) from error
        digest.update(f"{path.relative_to(folder)}:{found}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)

"""A short hash of source code: two machines with the same version number may have different commits."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def code_hash(packages: Iterable[Path]) -> str:
    """Of the names and contents of all Python files below these directories; about 0.1 s for this project."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            digest.update(f"{path.relative_to(package.parent)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]

"""SHA-256 of the files that a directory is made of, so that a flipped bit on a disk does not pass as data.

Whoever writes a directory puts `hashes_of` into its manifest; whoever reads it asks `changed_files` first.
SHA-256 because `hashlib` has it everywhere and processors compute it at more than 1 GB/s.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from figa_core.ids import file_fingerprint

_MOST_THREADS = 8


def hashes_of(directory: Path, *, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Relative name → SHA-256 (hex) of every file below `directory`, in order of the names."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    names = [path.relative_to(directory).as_posix() for path in paths]
    return _hashes(directory, [name for name in names if name not in without])


def changed_files(directory: Path, hashes: Mapping[str, str]) -> list[str]:
    """What of the files in `hashes` is not as it was written, such as "a.bin is missing"; empty is good."""
    missing = [name for name in hashes if not (directory / name).is_file()]
    found = _hashes(directory, [name for name in hashes if name not in missing])
    changed = [name for name, value in found.items() if value != hashes[name]]
    return [f"{name} is missing" for name in missing] + [f"{name} has changed" for name in changed]


def sealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` and their own hash, under "sha256": for the manifest itself."""
    return {**fields, "sha256": _seal(fields)}


def unsealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What `sealed` was given. Fields without a seal, as earlier releases wrote them, come back as they are.

    Raises:
        ValueError: the fields are not those that were sealed.
    """
    rest = {name: value for name, value in fields.items() if name != "sha256"}
    if "sha256" in fields and fields["sha256"] != _seal(rest):
        raise ValueError("its content is not what was written")
    return rest


def bytes_hash(body: bytes) -> str:
    """SHA-256 (hex) of a file's content that is in memory."""
    return hashlib.sha256(body).hexdigest()


def _seal(fields: Mapping[str, Any]) -> str:
    return bytes_hash(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())


def _hashes(directory: Path, names: list[str]) -> dict[str, str]:
    # hashlib lets go of the interpreter's lock: as many files at once as there are cores.
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        values = pool.map(lambda name: file_fingerprint(directory / name), names)
        return dict(zip(names, values, strict=True))

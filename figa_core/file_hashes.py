"""SHA-256 of a directory's files, so that a flipped bit on a disk does not pass as data.

The writer of a directory puts `hashes_of` into its manifest; a reader calls `changed_files` first. SHA-256
because `hashlib` has it everywhere and processors compute it at more than 1 GB/s.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from figa_core.files import write_whole
from figa_core.ids import file_fingerprint


def hashes_of(directory: Path, *, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Relative name → SHA-256 (hex) of every file below `directory`, in order of the names."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    names = [path.relative_to(directory).as_posix() for path in paths]
    return hashes_of_files(directory, [name for name in names if name not in without])


def hashes_of_files(directory: Path, names: Sequence[str]) -> dict[str, str]:
    """Name → SHA-256 (hex) of these files below `directory`."""
    # hashlib releases the interpreter's lock, so threads use all cores.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        values = pool.map(lambda name: file_fingerprint(directory / name), names)
        return dict(zip(names, values, strict=True))


def changed_files(directory: Path, hashes: Mapping[str, str]) -> list[str]:
    """The files in `hashes` that are missing or changed, such as "a.bin is missing"; empty if all is well."""
    missing = [name for name in hashes if not (directory / name).is_file()]
    found = hashes_of_files(directory, [name for name in hashes if name not in missing])
    changed = [name for name, value in found.items() if value != hashes[name]]
    return [f"{name} is missing" for name in missing] + [f"{name} has changed" for name in changed]


def write_sealed(path: Path, fields: Mapping[str, Any]) -> None:
    """Replace the file by `fields` and their own hash, durably: for the manifest itself. Raises OSError."""
    body = json.dumps({**fields, "sha256": _seal(fields)}, indent=2)
    write_whole(path, body.encode(), durable=True)


def read_sealed(path: Path) -> dict[str, Any]:
    """The fields that `write_sealed` wrote. A file of an earlier release has no hash and is not checked.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON, or the fields are not those that were written.
    """
    fields = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(fields, dict):
        raise ValueError("it is not an object of JSON")
    rest = {name: value for name, value in fields.items() if name != "sha256"}
    if "sha256" in fields and fields["sha256"] != _seal(rest):
        raise ValueError("its content is not what was written")
    return rest


def read_verified(path: Path, sha256: str | None) -> bytes:
    """The file's content, checked against its hash; None, from an earlier release, is not checked.

    Raises:
        OSError: the file cannot be read.
        ValueError: its content is not what was written.
    """
    body = path.read_bytes()
    if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
        raise ValueError("its content is not what was written")
    return body


def _seal(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

"""The hash of a model directory's files: two directories with the same hash hold the same model.

Hashing gigabytes every night is slow, so a small JSON file keeps each file's hash by size and time. While
weights are read for their hash, they are also searched for values that are not finite.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import orjson

from figa_core.errors import InputError
from figa_core.files import write_whole
from figa_core.ids import file_fingerprint
from figa_core.models.values import file_not_finite, not_finite

_WEIGHTS = "*.safetensors"
_PARTS = (_WEIGHTS, "*.json", "*.jinja", "*.model")


def model_fingerprint(directory: Path, cache: Path | None = None) -> str:
    """SHA-256 (hex) over the names and hashes of weights, configuration and tokenizer files.

    Raises:
        InputError: no such directory, no config.json or safetensors in it, a file that cannot be read, or
            weights that are not finite.
    """
    if not (directory / "config.json").exists():
        raise InputError(
            f"{directory}: not a Hugging Face model directory (config.json is missing). "
            "Correct the path in the config."
        )
    if not any(directory.glob(_WEIGHTS)):
        raise InputError(
            f"{directory}: no .safetensors weights; pickled weights are not loaded. Convert the model first."
        )
    known = _read(cache)
    digest = hashlib.sha256()
    for path in sorted({p for pattern in _PARTS for p in directory.glob(pattern)}):
        try:
            stat = path.stat()
            key = f"{os.path.realpath(path)}:{stat.st_size}:{stat.st_mtime_ns}"
            known[key] = known.get(key) or _hash(path)
        except OSError as error:
            raise InputError(
                f"{path}: a file of the model cannot be read: {error.strerror or error}. Fetch the model "
                "again, or correct its permissions."
            ) from error
        digest.update(f"{path.name}:{known[key]}\n".encode("utf-8", "surrogateescape"))
    if cache is not None:
        _write(cache, known)
    return digest.hexdigest()


def _write(cache: Path, known: dict[str, str]) -> None:
    """Keep the hashes. They can be computed again, so a full disk is not an error."""
    with contextlib.suppress(OSError, orjson.JSONEncodeError):  # a path that is not UTF-8 cannot be a key
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache, orjson.dumps(known))


def _hash(path: Path) -> str:
    if path.match(_WEIGHTS) and (weight := file_not_finite(path)):
        raise InputError(not_finite(path, weight))
    return file_fingerprint(path)


def _read(cache: Path | None) -> dict[str, str]:
    try:
        known = orjson.loads(cache.read_bytes()) if cache else {}
    except (OSError, orjson.JSONDecodeError):
        return {}
    return known if isinstance(known, dict) else {}

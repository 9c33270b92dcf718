"""The hash of a model directory's files: two directories with the same hash hold the same model.

Hashing gigabytes every night is slow, so a small JSON file keeps each file's hash by size and time. While
weights are read for their hash, they are also searched for values that are not finite.

The fingerprint of an adapter is that of its files and of its base model. A model that was merged from an
adapter (`training/merging.py`) has the adapter's, so that it does not depend on the rounding of the sum.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import orjson

from figa_core.errors import EngineError, InputError
from figa_core.file_hashes import read_sealed
from figa_core.files import write_whole
from figa_core.ids import file_fingerprint
from figa_core.models.adapter import BASE_RECORD, base_of, is_adapter, other_base, settings_of
from figa_core.models.values import file_not_finite, not_finite
from figa_core.models.weight_files import ADAPTER

_WEIGHTS = "*.safetensors"
_PARTS = (_WEIGHTS, "*.json", "*.jinja", "*.model")


MERGED = "merged.json"
"""In a model that was merged from an adapter: the adapter's fingerprint, and the hashes of the files."""


def model_fingerprint(directory: Path, cache: Path | None = None) -> str:
    """SHA-256 (hex) over the names and hashes of weights, configuration and tokenizer files.

    Raises:
        InputError: no such directory, no config.json or safetensors in it, a file that cannot be read,
            weights that are not finite, or an adapter whose base model is missing or another than it was.
    """
    known = _read(cache)
    found = _of_adapter(directory, known) if is_adapter(directory) else _of_model(directory, known)
    if cache is not None:
        _write(cache, known)
    return found


def _of_model(directory: Path, known: dict[str, str]) -> str:
    if not (directory / "config.json").exists():
        raise InputError(
            f"{directory}: not a Hugging Face model directory (config.json is missing). "
            "Correct the path in the config."
        )
    if not any(directory.glob(_WEIGHTS)):
        raise InputError(
            f"{directory}: no .safetensors weights; pickled weights are not loaded. Convert the model first."
        )
    hashes = _hashes(directory, known)
    return _merged_from(directory, hashes) or _digest(hashes)


def _of_adapter(adapter: Path, known: dict[str, str]) -> str:
    try:
        base, settings = base_of(adapter), settings_of(adapter)
    except EngineError as error:
        raise InputError(str(error)) from error
    found = _of_model(base.directory, known)
    if base.fingerprint is not None and base.fingerprint != found:
        raise InputError(other_base(adapter, base, found))
    hashes = _hashes(adapter, known)
    for name in (ADAPTER, BASE_RECORD):  # both name directories
        hashes.pop(name, None)
    written = orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)
    return _digest({**hashes, ADAPTER: hashlib.sha256(written).hexdigest(), "base model": found})


def _merged_from(directory: Path, hashes: dict[str, str]) -> str | None:
    """The fingerprint of the adapter that this model was merged from, if its files are still those."""
    try:
        merged = read_sealed(directory / MERGED)
        same = {name: value for name, value in hashes.items() if name != MERGED} == merged["files"]
        return str(merged["fingerprint"]) if same else None
    except (OSError, ValueError, KeyError):
        return None


def fingerprinted_files(directory: Path) -> dict[str, str]:
    """The hashes that a model's fingerprint is made of, by name. Raises InputError."""
    return _hashes(directory, {})


def _hashes(directory: Path, known: dict[str, str]) -> dict[str, str]:
    hashes: dict[str, str] = {}
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
        hashes[path.name] = known[key]
    return hashes


def _digest(hashes: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for name, value in hashes.items():
        digest.update(f"{name}:{value}\n".encode("utf-8", "surrogateescape"))
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

"""The names under which servers have the adapters that were loaded into them, beside their own models."""

import re
from hashlib import sha256
from pathlib import Path

import orjson

from figa_core.file_hashes import hashes_of_files
from figa_core.models.adapter import WEIGHTS
from figa_core.models.weight_files import ADAPTER

_NAME = re.compile(r"figa-[0-9a-f]{16}")


def name_of(adapter: Path) -> str:
    """By its content, so that another adapter at the same path is another model.

    Raises:
        OSError: its files cannot be read.
    """
    hashes = hashes_of_files(adapter, (ADAPTER, WEIGHTS))
    return f"figa-{sha256(orjson.dumps(hashes, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]}"


def is_of_adapter(name: str) -> bool:
    """Whether a server's model has a name as `name_of` gives it."""
    return _NAME.fullmatch(name) is not None

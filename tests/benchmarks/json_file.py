"""Dataclasses as JSON files, for a contender's process: its spec, and the outcome it returns.

It imports nothing of figa_core: the other contenders' environments import it.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self


class JsonFile:
    """A base for dataclasses."""

    __slots__ = ()

    def save(self, path: Path) -> None:
        """Write the file."""
        fields: Any = self
        path.write_text(json.dumps(asdict(fields), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**cls.parsed(json.loads(path.read_text(encoding="utf-8"))))

    @classmethod
    def parsed(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields, converted from JSON; classes with fields of other types override it."""
        return fields

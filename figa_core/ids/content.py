"""The form of all ids, and what several of them hash."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from figa_core.files import open_regular
from figa_core.records import Message


def content_id(kind: str, recipe: int, **fields: object) -> str:
    """Hash named fields into ``<kind>-s256-<hex>``; values must be JSON-serialisable and finite."""
    body = json.dumps(
        {"kind": kind, "recipe": recipe, "fields": fields},
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )
    return f"{kind}-s256-{hashlib.sha256(body.encode()).hexdigest()[:32]}"


def file_fingerprint(path: Path) -> str:
    """SHA-256 of one file's bytes, streamed."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def told(message: Message) -> list[str]:
    """What an id hashes of a message: its role and content, and its other fields if it has some."""
    return [message.role, message.content, *([message.more] if message.more else [])]


def digest_of_lines(lines: Iterable[str]) -> str:
    """SHA-256 (hex) of lines joined by line feeds, streamed."""
    digest = hashlib.sha256()
    for index, line in enumerate(lines):
        digest.update(f"\n{line}".encode() if index else line.encode())
    return digest.hexdigest()

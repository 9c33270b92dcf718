"""Reads a user's file of prompts: JSONL or Parquet, plain text or chat messages, optional reference.

A bad row never stops the others and never vanishes: it comes out as a `BadRow` with its line and reason.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from figa_core import ids
from figa_core.errors import InputError
from figa_core.records import Message, Prompt, Split

_ROLES = frozenset({"system", "user", "assistant", "tool"})
_PARQUET_ROWS = 1024


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used: where it stands (line or row number from 1) and why."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class RowFormat:
    """Which fields of a row mean what; see `config.PromptsConfig`."""

    prompt_field: str
    reference_field: str | None
    system_prompt: str | None
    held_out_share: float


def read_prompts(
    path: Path, row_format: RowFormat, limit: int | None = None
) -> Iterator[tuple[int, Prompt | BadRow]]:
    """Stream (row number, prompt or bad row), numbers from 1, at most `limit` rows.

    Raises:
        InputError: the file is missing, of an unknown kind, no valid Parquet, or lacks the prompt column.
    """
    for number, row in _rows(path, row_format):
        if limit is not None and number > limit:
            return
        yield number, row if isinstance(row, BadRow) else _parse_row(number, row, row_format)


def reason_kind(reason: str) -> str:
    """A bad row's reason without what is the row's own, so that rows can be counted by it."""
    if reason.startswith("duplicate"):
        return "duplicate"
    if "max_prompt_tokens" in reason:
        return "longer than prompts.max_prompt_tokens"
    return reason.split(":")[0]


def split_of(prompt_id: str, held_out_share: float) -> Split:
    """Decided by the id's hash: stable however often and in whatever company the prompt is imported."""
    digest = hashlib.sha256(f"split:{prompt_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return Split.HELD_OUT if position < held_out_share else Split.TRAIN


def _rows(path: Path, row_format: RowFormat) -> Iterator[tuple[int, Mapping[str, Any] | BadRow]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file of prompts. Set prompts.path to a .jsonl or .parquet file.")
    if path.suffix in {".jsonl", ".ndjson"}:
        return _jsonl_rows(path)
    if path.suffix == ".parquet":
        return _parquet_rows(path, row_format)
    raise InputError(
        f"{path}: unknown kind of file {path.suffix!r}. Prompts are read from .jsonl or .parquet."
    )


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | BadRow]]:
    with path.open("rb") as file:
        number = 0
        for line in file:
            if not line.strip():
                continue
            number += 1
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield number, BadRow(number, f"not valid JSON: {error.msg} at column {error.colno}")
                continue
            yield number, row if isinstance(row, dict) else BadRow(number, "not a JSON object")


def _parquet_rows(path: Path, row_format: RowFormat) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from error
    names = set(file.schema_arrow.names)
    if row_format.prompt_field not in names:
        raise InputError(
            f"{path}: no column {row_format.prompt_field!r}; it has {', '.join(sorted(names))}. "
            "Set prompts.prompt_field to one of them."
        )
    columns = [name for name in (row_format.prompt_field, row_format.reference_field) if name in names]
    number = 0
    try:
        for batch in file.iter_batches(_PARQUET_ROWS, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not readable after row {number}: {str(error).strip()}. Write the file anew."
        ) from error


def _parse_row(number: int, row: Mapping[str, Any], row_format: RowFormat) -> Prompt | BadRow:
    if row.get(row_format.prompt_field) is None:
        known = ", ".join(map(str, row)) or "none"
        return BadRow(number, f"field {row_format.prompt_field!r} is missing; the row has: {known}")
    messages = _parse_messages(row[row_format.prompt_field], row_format.system_prompt)
    if isinstance(messages, str):
        return BadRow(number, messages)
    reference = row.get(row_format.reference_field) if row_format.reference_field else None
    if reference is not None and (not isinstance(reference, str) or not reference.strip()):
        return BadRow(number, f"field {row_format.reference_field!r} is not a text with content")
    prompt_id = ids.prompt_id(messages)
    return Prompt(
        prompt_id=prompt_id,
        messages=messages,
        split=split_of(prompt_id, row_format.held_out_share),
        reference=reference,
        reference_id=None if reference is None else ids.reference_id(prompt_id, reference),
    )


def _parse_messages(value: object, system_prompt: str | None) -> tuple[Message, ...] | str:
    """The messages, or in words what is wrong with them."""
    if isinstance(value, str):
        if not value.strip():
            return "the prompt is empty"
        system = (Message("system", system_prompt),) if system_prompt else ()
        return (*system, Message("user", value))
    if not isinstance(value, list) or not value:
        return "the prompt is neither text nor a list of chat messages"
    messages = []
    for item in value:
        if (
            not isinstance(item, dict)
            or not isinstance(item.get("content"), str)
            or not isinstance(item.get("role"), str)
            or item["role"] not in _ROLES
        ):
            return "a chat message needs a role (system, user, assistant, tool) and a text content"
        messages.append(Message(item["role"], item["content"]))
    if messages[-1].role == "assistant":
        return "the last chat message is the assistant's; it must be the one to answer"
    if not messages[-1].content.strip():
        return "the prompt is empty"
    return tuple(messages)

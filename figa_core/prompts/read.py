"""Reads a user's prompts: text or chat messages, each with an optional reference.

A bad row never stops the others and never vanishes: it comes out as a `BadRow` with its place and reason.
`files` reads the rows, `messages` what a prompt holds.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figa_core import ids
from figa_core.prompts.files import iter_rows
from figa_core.prompts.messages import kind_of, parse_messages, text_problem
from figa_core.records import Prompt, Split

# A row's tools are rendered by templates that know tools: a row that has some cannot do without them.
_TOOLS = "tools"
_SHOWN = 12
_WIDTH = 40
_PLACE = re.compile(r" \[in [^\]]*, row \d+\]$")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used: its number, from 1 and without empty lines, and the reason."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class RowFormat:
    """The meaning of a row's fields; see `config.PromptsConfig`."""

    prompt_field: str
    reference_field: str | None
    system_prompt: str | None
    held_out_share: float


def read_prompts(
    path: Path, row_format: RowFormat, limit: int | None = None
) -> Iterator[tuple[int, Prompt | BadRow]]:
    """Stream (row number, prompt or bad row), numbers from 1, at most `limit` rows.

    `path` is a file, or a directory whose files are read in the order of their names.

    Raises:
        InputError: a file is missing, damaged, of an unknown kind or not UTF-8, or a Parquet file lacks the
            prompt column.
    """
    columns = [row_format.prompt_field, _TOOLS]
    if row_format.reference_field:
        columns.insert(1, row_format.reference_field)
    for number, (place, row) in enumerate(iter_rows(path, columns), start=1):
        if limit is not None and number > limit:
            return
        outcome = row if isinstance(row, str) else _parse_row(row, row_format)
        if isinstance(outcome, str):
            yield number, BadRow(number, _printable(f"{outcome} [in {place}]" if place else outcome))
        else:
            yield number, outcome


def reason_kind(reason: str) -> str:
    """A bad row's reason without the details of the row, so that rows can be counted by reason."""
    reason = _PLACE.sub("", reason)
    if reason.startswith("duplicate"):
        return "duplicate"
    if "max_prompt_tokens" in reason:
        return "longer than prompts.max_prompt_tokens"
    return reason.split(":")[0]


def split_of(prompt_id: str, held_out_share: float) -> Split:
    """Decided by the id's hash: the same however often, and with whatever others, a prompt is imported."""
    digest = hashlib.sha256(f"split:{prompt_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return Split.HELD_OUT if position < held_out_share else Split.TRAIN


def _parse_row(row: Mapping[str, Any], row_format: RowFormat) -> Prompt | str:
    """The prompt, or why the row cannot be used."""
    field = row_format.prompt_field
    if field not in row:
        known = ", ".join(name[:_WIDTH] for name in list(row)[:_SHOWN]) or "none"
        return f"field {field!r} is missing; the row has: {known}"
    if _is_null(row[field]):
        return f"field {field!r} is null"
    if _has_tools(row.get(_TOOLS)) and field != _TOOLS:
        return "the row has tools: they cannot be passed to the chat template. Take the row or its tools out"
    messages = parse_messages(row[field], row_format.system_prompt)
    if isinstance(messages, str):
        return messages
    reference = row.get(row_format.reference_field) if row_format.reference_field else None
    if _is_null(reference):
        reference = None
    elif (problem := _reference_problem(reference)) is not None:
        return f"field {row_format.reference_field!r} is not a text with content: {problem}"
    prompt_id = ids.prompt_id(messages)
    return Prompt(
        prompt_id=prompt_id,
        messages=messages,
        split=split_of(prompt_id, row_format.held_out_share),
        reference=reference,
        reference_id=None if reference is None else ids.reference_id(prompt_id, reference),
    )


def _is_null(value: object) -> bool:
    # NaN, which is not equal to itself, is how pandas writes a missing text.
    return value is None or value != value


def _has_tools(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(tool, dict) for tool in value)


def _reference_problem(value: object) -> str | None:
    if not isinstance(value, str):
        return f"it is {kind_of(value)}"
    return text_problem(value)


def _printable(text: str) -> str:
    """A database refuses half characters, which may be in a file's own words, such as a field's name."""
    return text.encode("utf-8", "replace").decode()

"""Reads a user's prompts: text or chat messages, each with an optional reference.

A bad row never stops the others and is never dropped: it becomes a `BadRow` with its place and reason.
`files` reads the rows, `messages` the messages of a prompt.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from figa_core import ids
from figa_core.prompts.files import iter_rows
from figa_core.prompts.messages import (
    MESSAGES_AS_TEXT,
    is_messages_as_text,
    kind_of,
    parse_messages,
    text_problem,
)
from figa_core.prompts.tools import parse_tools
from figa_core.records import Prompt, Split

_TOOLS = "tools"  # templates may print them, so a row cannot be used without its tools
_SHOWN = 12
_WIDTH = 40
_PLACE = re.compile(r" \[in [^\]]*, row \d+\]$")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used: its number, from 1 and not counting empty lines, and the reason."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class RowFormat:
    """The meaning of a row's fields; see `config.PromptsConfig`. `more_fields` are what rewards read."""

    prompt_field: str
    reference_field: str | None
    system_prompt: str | None
    held_out_share: float
    type_field: str | None = None
    more_fields: tuple[str, ...] = ()


def read_prompts(
    path: Path, row_format: RowFormat, limit: int | None = None
) -> Iterator[tuple[int, Prompt | BadRow]]:
    """Stream (row number, prompt or bad row) from a file or directory: numbers from 1, at most `limit` rows.

    Raises:
        InputError: a file is missing, damaged, of an unknown kind or not UTF-8, or a Parquet file lacks the
            prompt column.
    """
    columns = [row_format.prompt_field, _TOOLS]
    if row_format.reference_field:
        columns.append(row_format.reference_field)
    if row_format.type_field:
        columns.append(row_format.type_field)
    columns += row_format.more_fields
    for number, (place, row) in enumerate(islice(iter_rows(path, columns), limit), start=1):
        outcome = row if isinstance(row, str) else _parse_row(row, row_format)
        if isinstance(outcome, str):
            yield number, BadRow(number, _printable(f"{outcome} [in {place}]" if place else outcome))
        else:
            yield number, outcome


def reason_kind(reason: str) -> str:
    """A bad row's reason without the row's details, so that rows can be counted by reason."""
    reason = _PLACE.sub("", reason)
    if reason.startswith("duplicate"):
        return "duplicate"
    if "max_prompt_tokens" in reason:
        return "longer than prompts.max_prompt_tokens"
    return reason.split(":")[0]


def split_of(prompt_id: str, held_out_share: float) -> Split:
    """The split of a prompt, by its id's hash: the same in every import, whatever the other prompts."""
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
    messages = parse_messages(row[field], row_format.system_prompt)
    if isinstance(messages, str):
        return messages
    tools = parse_tools(row.get(_TOOLS)) if field != _TOOLS else None
    if isinstance(tools, str):
        return tools
    messages = messages if tools is None else (tools, *messages)
    reference = row.get(row_format.reference_field) if row_format.reference_field else None
    if _is_null(reference):
        reference = None
    else:
        problem = _reference_problem(reference)
        if problem:
            return f"field {row_format.reference_field!r} is not a text with content: {problem}"
    kind = row.get(row_format.type_field) if row_format.type_field else None
    if not _is_null(kind) and not (isinstance(kind, str) and text_problem(kind) is None):
        return f"field {row_format.type_field!r} is not a text with content"
    fields = None
    if row_format.more_fields:
        try:
            fields = _as_json(row, row_format.more_fields)
        except ValueError as error:
            return str(error)
    prompt_id = ids.prompt_id(messages)
    return Prompt(
        prompt_id=prompt_id,
        messages=messages,
        split=split_of(prompt_id, row_format.held_out_share),
        reference=reference,
        reference_id=None if reference is None else ids.reference_id(prompt_id, reference),
        type=None if _is_null(kind) else kind,
        fields=fields,
    )


def _reference_problem(reference: object) -> str | None:
    if not isinstance(reference, str):
        return f"it is {kind_of(reference)}"
    return f"it is {MESSAGES_AS_TEXT}" if is_messages_as_text(reference) else text_problem(reference)


def _as_json(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """These fields as a JSON object, null for those that the row lacks; ValueError says what is wrong."""
    found = {}
    for name in names:
        value = row.get(name)
        found[name] = None if _is_null(value) else value
        try:
            json.dumps(found[name])
        except (TypeError, ValueError, RecursionError):
            kind = type(value).__name__
            raise ValueError(f"field {name!r} cannot be given to a reward: it is a {kind}") from None
    return json.dumps(found)


def _is_null(value: object) -> bool:
    # pandas writes a missing text as NaN, which is not equal to itself.
    return value is None or value != value


def _printable(text: str) -> str:
    """The text without lone surrogates, which a database refuses; a field's name may hold one."""
    return text.encode("utf-8", "replace").decode()

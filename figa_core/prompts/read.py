"""Reads a user's prompts: text or chat messages, each with an optional reference. For files, `files`.

A bad row never stops the others and never vanishes: it comes out as a `BadRow` with its place and reason.
Nothing of a row that is kept is left out silently: what a message says besides role and content refuses it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figa_core import ids
from figa_core.prompts.files import iter_rows
from figa_core.records import Message, Prompt, Split

_ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython")
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
# What data sets note about a message and no template prints.
_NOTES = frozenset(
    {"id", "uuid", "index", "idx", "turn", "turn_id", "turn_identifier", "message_id", "parent_id"}
    | {"conversation_id", "user_id", "timestamp", "time", "date", "created", "created_at", "create_time"}
    | {"updated_at", "update_time", "model", "lang", "language", "country", "state", "hashed_ip", "header"}
    | {"redacted", "toxic", "tokens", "token_count", "num_tokens", "length", "metadata", "meta", "source"}
    | {"score", "rating", "weight", "status", "end_turn"}
)
# Beside the messages, and rendered by templates that know tools; a row that has some means them.
_TOOLS = "tools"
_SHOWN = 12
_WIDTH = 40
_PLACE = re.compile(r" \[in [^\]]*, row \d+\]$")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used: where it is (row number from 1; empty lines are none) and why."""

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

    `path` is a file, or a directory whose files are read in the order of their names.

    Raises:
        InputError: a file is missing, of an unknown kind, in another encoding than UTF-8, damaged, or it is
            Parquet that lacks the prompt column.
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
    """A bad row's reason without what is the row's own, so that rows can be counted by it."""
    reason = _PLACE.sub("", reason)
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


def _parse_row(row: Mapping[str, Any], row_format: RowFormat) -> Prompt | str:
    """The prompt, or in words why the row cannot be used."""
    field = row_format.prompt_field
    if field not in row:
        known = ", ".join(name[:_WIDTH] for name in list(row)[:_SHOWN]) or "none"
        return f"field {field!r} is missing; the row has: {known}"
    if _is_null(row[field]):
        return f"field {field!r} is null"
    if _has_tools(row.get(_TOOLS)) and field != _TOOLS:
        return "the row has tools: they cannot be passed to the chat template. Take the row or its tools out"
    messages = _parse_messages(row[field], row_format.system_prompt)
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
        return f"it is {_kind_of(value)}"
    return None if value.strip() and not _HALF_CHARACTER.search(value) else _text_problem(value)


def _text_problem(text: str) -> str | None:
    if not text.strip():
        return "it is empty"
    half = _HALF_CHARACTER.search(text)
    return half and f"it holds half a character, \\u{ord(half[0]):04x} (a lone surrogate)"


def _kind_of(value: object) -> str:
    if isinstance(value, list):
        return f"a list of {'chat messages' if value and isinstance(value[0], dict) else 'values'}"
    return {bool: "true or false", int: "a number", float: "a number", dict: "an object", bytes: "bytes"}.get(
        type(value), type(value).__name__
    )


def _parse_messages(value: object, system_prompt: str | None) -> tuple[Message, ...] | str:
    """The messages, or in words what is wrong with them."""
    if isinstance(value, str):
        if (problem := _prompt_problem(value)) is not None:
            return problem
        system = (Message("system", system_prompt),) if system_prompt else ()
        return (*system, Message("user", value))
    if not isinstance(value, list) or not value:
        kind = "an empty list" if value == [] else _kind_of(value)
        return f"the prompt is neither text nor a list of chat messages: it is {kind}"
    messages = []
    for number, item in enumerate(value, start=1):
        message = _parse_message(item)
        if isinstance(message, str):
            return f"{message} (message {number})"
        messages.append(message)
    if messages[-1].role == "assistant":
        return "the last chat message is the assistant's; it must be the one to answer"
    return _prompt_problem(messages[-1].content) or tuple(messages)


def _prompt_problem(text: str) -> str | None:
    problem = _text_problem(text)
    if problem is None:
        return None
    return "the prompt is empty" if "empty" in problem else f"the prompt cannot be used: {problem}"


def _parse_message(item: object) -> Message | str:
    """One message, or in words what is wrong with it."""
    needs = f"a chat message needs a role ({', '.join(_ROLES)}) and a text content"
    if not isinstance(item, dict):
        return f"{needs}: it is {_kind_of(item)}"
    said = sorted(str(k) for k, v in item.items() if k not in {"role", "content"} and _says_something(k, v))
    if "role" not in item:
        return f"{needs}: it has {', '.join(name[:_WIDTH] for name in said[:_SHOWN]) or 'no role'}"
    if said:
        return f"a chat message has {said[0][:_WIDTH]}, which cannot be passed on: only role and content can"
    if not isinstance(item["role"], str) or item["role"] not in _ROLES:
        return f"{needs}: its role is {str(item['role'])[:_WIDTH]!r}"
    content = _joined(item.get("content"))
    if content is None:
        return f"{needs}: its content is {_content_kind(item.get('content'))}"
    if _HALF_CHARACTER.search(content):
        return f"a chat message cannot be used: {_text_problem(content)}"
    return Message(item["role"], content)


def _says_something(field: object, value: object) -> bool:
    """Whether leaving the field out would change what the message says."""
    return field not in _NOTES and not (value is None or value is False or value in ("", [], {}))


def _joined(content: object) -> str | None:
    """A text, or a list of text parts as one; None where something else is among them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    texts = [_part_text(part) for part in content]
    return None if None in texts else "".join(text for text in texts if text is not None)


def _part_text(part: object) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type", "text") not in _TEXT_PARTS:
        return None
    others = any(_says_something(k, v) for k, v in part.items() if k not in {"type", "text"})
    text = part.get("text")
    return text if isinstance(text, str) and not others else None


def _content_kind(content: object) -> str:
    if content is None:
        return "null"
    if not isinstance(content, list) or not content:
        return "an empty list" if content == [] else _kind_of(content)
    odd = next(part for part in content if _part_text(part) is None)
    if not isinstance(odd, dict):
        return f"a list with {_kind_of(odd)} in it"
    return f"a list with a part of type {str(odd.get('type'))[:_WIDTH]!r}, and only text parts can be read"


def _printable(text: str) -> str:
    """Half characters in a file's own words, such as the name of a field, are no text to a database."""
    return text.encode("utf-8", "replace").decode()

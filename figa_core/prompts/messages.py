"""Reads the chat messages of a prompt, or finds what is wrong with them.

Nothing is dropped silently: a row is refused if a message has content in other fields than role, content and
those of tools (`tools.py`).
"""

import re
import unicodedata

from figa_core.prompts.tools import TOOL_CALLS, parse_calls
from figa_core.records import Message

_ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython")
_TEXT_PARTS = ("text", "input_text", "output_text")
# Fields for notes about a message, which no template prints.
_NOTES = frozenset(
    {"id", "uuid", "index", "idx", "turn", "turn_id", "turn_identifier", "message_id", "parent_id"}
    | {"conversation_id", "user_id", "timestamp", "time", "date", "created", "created_at", "create_time"}
    | {"updated_at", "update_time", "model", "lang", "language", "country", "state", "hashed_ip", "header"}
    | {"redacted", "toxic", "tokens", "token_count", "num_tokens", "length", "metadata", "meta", "source"}
    | {"score", "rating", "weight", "status", "end_turn"}
)
_EMPTY = "it is empty"
MESSAGES_AS_TEXT = "a list of chat messages that was written as text: give the list itself (json.loads)"
_SHOWN = 12
_WIDTH = 40
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_MESSAGES_AS_TEXT = re.compile(r"""\s*\[?\s*\{\s*(["'])(role|content|from|value)\1\s*:""")


def parse_messages(value: object, system_prompt: str | None) -> tuple[Message, ...] | str:
    """The messages, or what is wrong with them; a plain text gets the system prompt before it."""
    if isinstance(value, str):
        system = (Message("system", system_prompt),) if system_prompt else ()
        if is_messages_as_text(value):
            return f"the prompt is {MESSAGES_AS_TEXT}"
        return _prompt_problem(value) or (*system, Message("user", value))
    if not isinstance(value, list) or not value:
        return f"the prompt is neither text nor a list of chat messages: it is {kind_of(value)}"
    messages = []
    for number, item in enumerate(value, start=1):
        message = _parse_message(item)
        if isinstance(message, str):
            return f"{message} (message {number})"
        messages.append(message)
    if messages[-1].role == "assistant":
        return "the last chat message is the assistant's; it must be the one to answer"
    return _prompt_problem(messages[-1].content) or tuple(messages)


def is_messages_as_text(text: str) -> bool:
    """Whether a text is the JSON of chat messages, or what Python or NumPy prints of them: a table that was
    written as CSV, for example, has such texts. A model would be asked with the brackets and names in it.
    """
    begins, ends = _MESSAGES_AS_TEXT.match(text), text.rstrip().endswith(("}", "]"))
    other = {"role": "content", "content": "role", "from": "value", "value": "from"}
    return bool(begins and ends and re.search(rf"""["']{other[begins[2]]}["']\s*:""", text))


def text_problem(text: str) -> str | None:
    """Why a text cannot be used, such as "it is empty"; None if it can."""
    if all(c.isspace() or unicodedata.category(c) == "Cf" for c in text):  # zero-width characters and marks
        return _EMPTY
    half = _HALF_CHARACTER.search(text)
    return half and f"it holds half a character, \\u{ord(half[0]):04x} (a lone surrogate)"


def kind_of(value: object) -> str:
    """A JSON value in words, such as "a number"."""
    if value == []:
        return "an empty list"
    if isinstance(value, list):
        return f"a list of {'chat messages' if isinstance(value[0], dict) else 'values'}"
    return {bool: "true or false", int: "a number", float: "a number", dict: "an object", bytes: "bytes"}.get(
        type(value), type(value).__name__
    )


def _prompt_problem(text: str) -> str | None:
    problem = text_problem(text)
    if problem == _EMPTY:
        return "the prompt is empty"
    return problem and f"the prompt cannot be used: {problem}"


def _parse_message(item: object) -> Message | str:
    """One message, or what is wrong with it."""
    needs = f"a chat message needs a role ({', '.join(_ROLES)}) and a text content"
    if not isinstance(item, dict):
        return f"{needs}: it is {kind_of(item)}"
    more = parse_calls(item)
    if isinstance(more, str):
        return more
    known = {"role", "content", *more}
    others = sorted(str(k) for k, v in item.items() if k not in known and _has_content(k, v))
    if "role" not in item:
        return f"{needs}: it has {', '.join(name[:_WIDTH] for name in others[:_SHOWN]) or 'no role'}"
    if others:
        return (
            f"a chat message has {others[0][:_WIDTH]}, which cannot be passed on: only role, content and "
            "tool_calls can"
        )
    if not isinstance(item["role"], str) or item["role"] not in _ROLES:
        return f"{needs}: its role is {str(item['role'])[:_WIDTH]!r}"
    given = item.get("content")
    content = "" if given is None and TOOL_CALLS in more else _joined(given)
    if content is None:
        return f"{needs}: its content is {_content_kind(item.get('content'))}"
    if _HALF_CHARACTER.search(content):
        return f"a chat message cannot be used: {text_problem(content)}"
    return Message.of({"role": item["role"], "content": content, **more})


def _has_content(field: object, value: object) -> bool:
    """Whether the field is part of what the message says."""
    return field not in _NOTES and not (value is None or value is False or value in ("", [], {}))


def _joined(content: object) -> str | None:
    """A text, or the joined texts of a list of parts; None if it is or contains anything else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    texts = [text for part in content if (text := _part_text(part)) is not None]
    return "".join(texts) if len(texts) == len(content) else None


def _part_text(part: object) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type", "text") not in _TEXT_PARTS:
        return None
    others = any(_has_content(k, v) for k, v in part.items() if k not in {"type", "text"})
    text = part.get("text")
    return text if isinstance(text, str) and not others else None


def _content_kind(content: object) -> str:
    if content is None:
        return "null"
    if not isinstance(content, list) or not content:
        return kind_of(content)
    odd = next(part for part in content if _part_text(part) is None)
    if not isinstance(odd, dict):
        return f"a list with {kind_of(odd)} in it"
    return f"a list with a part of type {str(odd.get('type'))[:_WIDTH]!r}, and only text parts can be read"

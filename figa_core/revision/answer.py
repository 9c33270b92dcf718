"""Reads the revision in an answer's text: removes thoughts, decodes JSON. Pure.

A JSON object is read leniently if it is unambiguous: the field that was asked for, wherever it is, or the
only text. A text that begins like such an object but cannot be read as one is a problem, not plain text,
because it would be trained on. JSON is the revision only if the draft is JSON.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from figa_core.llm.characters import whole_characters, without_invisible_ends
from figa_core.revision.prompt import ANSWER_FIELD, unfence
from figa_core.revision.thoughts import Answer, strip_thoughts
from figa_core.revision.typography import as_in_draft
from figa_core.revision.words import edit_share

_FENCE = re.compile(r"\A```\w*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_OPEN_FENCE = re.compile(r"\A```(?:json\w*)?[ \t]*\n(?=\s*[\[{])")
_JSON_START = re.compile(r'[\[{]|"\s*\{')
_OBJECT_START = re.compile(r"""\{\s*(?:["'“‘]|\w+["']?\s*:|\}|\Z)""")
_SINGLE_QUOTED = re.compile(rf"\{{\s*'{ANSWER_FIELD}'\s*:\s*'((?:[^'\\]|\\.)*)'\s*,?\s*\}}", re.DOTALL)
_TRAILING_COMMA = re.compile(r",(?=\s*[\]}]\s*\Z)")
_NOT_JSON = (ValueError, RecursionError)
_NEAR, _FAR = 0.5, 0.8  # edit shares: at most for a revision of the draft, above for any other text


def read_answer(text: str, draft: str = "", reference: str | None = None) -> Answer:
    """The revision in an answer, with the tags that were fenced for the prompt restored, and the characters
    of the draft that were replaced throughout (`typography`).
    """
    originals = (draft,) if reference is None else (draft, reference)
    text = without_invisible_ends(text, draft)
    answer = _read_json(text.strip(), draft) if _begins_with_json(text.strip()) else None
    if answer is None:  # thoughts may come before the JSON, or all be plain text
        stripped = strip_thoughts(text, *originals)
        if stripped.problem is not None:
            return stripped
        answer = _read_json(stripped.text.strip(), draft) or stripped
    if answer.problem is None:
        answer = strip_thoughts(answer.text, *originals)
    whole = without_invisible_ends(whole_characters(unfence(answer.text)), draft)
    return answer._replace(text=as_in_draft(whole, draft, reference))


def _read_json(text: str, draft: str) -> Answer | None:
    """The text in a JSON answer, or the problem with it; None for plain text."""
    named = ANSWER_FIELD in text and ANSWER_FIELD not in draft
    inner = _out_of_fence(text)
    if not _JSON_START.match(inner):
        return _read_embedded(inner) if named else None
    beside_json = _is_json(draft)
    try:
        value, rest = _decode(inner)
    except _NOT_JSON as error:
        meant_as_json = named or (not beside_json and _OBJECT_START.match(inner))
        return _unreadable(error, inner) if meant_as_json else None
    if beside_json:
        return _read_beside_json(value, rest, inner, draft, named=named)
    if isinstance(value, str):
        return _read_json(value.strip(), draft) if named else None
    if isinstance(value, list) and not named and (rest or not any(_texts(value))):
        return None  # such as "[1] Smith et al."
    return _choose(value, rest, draft)


def _begins_with_json(text: str) -> bool:
    inner = _out_of_fence(text)
    try:
        return _JSON_START.match(inner) is not None and bool(_decode(inner))
    except _NOT_JSON:
        return False


def _read_beside_json(value: Any, rest: str, inner: str, draft: str, *, named: bool) -> Answer | None:
    """The answer if the draft is JSON, so that JSON (`inner`) may be the revision as it is."""
    if not isinstance(value, dict):
        return None
    if named:
        return _choose(value, rest, draft) if any(_fields(value)) else _fieldless()
    only = next(iter(value.values())) if len(value) == 1 else None
    if isinstance(only, str) and _is_json(only) and edit_share(draft, only) < edit_share(draft, inner):
        return Answer(only)
    return None


def _read_embedded(text: str) -> Answer:
    """The field in the first object of a text that has it."""
    for value in _objects(text):
        found = _fields(value)
        if len(found) == 1:
            return Answer(found.pop())
    return Answer("", f"the answer names {ANSWER_FIELD} and holds no JSON object with it")


def _choose(value: Any, rest: str, draft: str) -> Answer:
    """The one text in `value` that can be the revision; `rest` follows it in the answer."""
    # The same object may come again, or another one.
    found = _fields(value).union(*map(_fields, _objects(rest)))
    if len(found) == 1:
        return Answer(found.pop())
    if found:
        return Answer("", f"the answer gives {ANSWER_FIELD} more than once, differently")
    named = list(_texts(value))
    texts = [text for _, text in named]
    near = [text for name, text in named if name and edit_share(draft, text) <= _NEAR]  # no line of several
    far = [text for text in texts if edit_share(draft, text) > _FAR]
    if not rest and len(texts) == 1:
        return Answer(texts[0])
    if len(near) == 1 and len(far) == len(texts) - 1:
        return Answer(near[0])
    return _fieldless()


def _objects(text: str) -> Iterator[Any]:
    """Every JSON object in `text`, nested ones too."""
    for brace in re.finditer(r"\{", text):
        try:
            yield _decode(text[brace.start() :])[0]
        except _NOT_JSON:
            continue


def _fieldless() -> Answer:
    return Answer("", f"the answer is JSON without the field {ANSWER_FIELD} as a text")


def _fields(value: Any) -> set[str]:
    """The texts under the name that was asked for."""
    asked = ANSWER_FIELD.replace("_", "")
    return {text for name, text in _texts(value) if re.sub(r"[^a-z]", "", name.lower()) == asked}


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """The names and texts in `value` at all depths; a text in a list has no name."""
    waiting = [("", value)]  # no recursion: JSON may be nested up to Python's limit
    while waiting:
        name, item = waiting.pop()
        if isinstance(item, str):
            yield name, item
        elif isinstance(item, _Object):
            waiting.extend(reversed(item.pairs))
        elif isinstance(item, list):
            waiting.extend(("", each) for each in reversed(item))


class _Object(dict[str, Any]):
    """A JSON object that keeps repeated names."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_Object)


def _decode(text: str) -> tuple[Any, str]:
    """The JSON value at the beginning of `text`, and the text after it.

    Raises:
        ValueError, RecursionError: there is none.
    """
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError:
        text = _TRAILING_COMMA.sub("", _requoted(text))
        value, end = _DECODER.raw_decode(text)
    return value, text[end:].strip()


def _requoted(text: str) -> str:
    """`text` with JSON's quotes, if it begins with the object as Python prints it."""
    quoted = _SINGLE_QUOTED.match(text)
    if quoted is None:
        return text
    inside = re.sub(r"\\'|(?<!\\)\"", lambda match: "'" if match.group() != '"' else '\\"', quoted.group(1))
    return f'{{"{ANSWER_FIELD}": "{inside}"}}' + text[quoted.end() :]


def _out_of_fence(text: str) -> str:
    if (fence := _FENCE.match(text)) is not None:
        return fence.group(1).strip()
    opened = _OPEN_FENCE.match(text)
    return text if opened is None else text[opened.end() :].strip()


def _unreadable(error: Exception, text: str) -> Answer:
    if isinstance(error, json.JSONDecodeError) and (
        error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    ):
        return Answer("", "the answer is JSON that ends too early", cut=True)
    return Answer("", f"the answer begins like JSON and cannot be read as such ({error})")


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(_out_of_fence(text.strip()), strict=False), dict | list)
    except _NOT_JSON:
        return _OBJECT_START.match(text.strip()) is not None

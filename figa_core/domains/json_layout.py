"""Writes a JSON value in the layout of a draft that is nearly that value: only what differs is edited.

The draft may be broken in any way. Both texts are split into tokens, and the tokens aligned: those that the
draft has keep its spelling and the white space before them, the others get the usual one. White space between
tokens means nothing in JSON, so the result is the value whatever the draft was.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rapidfuzz.distance import Indel

_TOKEN = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|[{}\[\],:]|[^\s{}\[\],:"]+|"'
)
_KEY = re.compile(r'"((?:[^"\\\n]|\\.)*)"\s*:')
_JSON_SPACE = re.compile(r"[ \t\r\n]*\Z")


class _Token(NamedTuple):
    key: str  # equal keys mean the same
    text: str
    space: str  # the white space before it


def in_layout_of(draft: str, value: Mapping[str, Any], *, missing_last: bool = False) -> str:
    """`value` as JSON, with the draft's order of fields, white space and spelling of equal values.

    A field that the draft lacks follows the one before it in `value`, or with `missing_last` all others.
    """
    ordered = _in_order(value, _key_places(draft), missing_last)
    target, known = _tokens(json.dumps(ordered, ensure_ascii=False)), _tokens(draft)
    taken = _matches([token.key for token in known], [token.key for token in target])
    places = [
        _place(target[index - 1].text if index else "", token.text) for index, token in enumerate(target)
    ]
    kept = {index: known[place] for index, place in taken.items() if _JSON_SPACE.match(known[place].space)}
    usual = _usual_spaces(places, kept)
    written = []
    for index, token in enumerate(target):
        text = known[taken[index]].text if index in taken else token.text
        space = kept[index].space if index in kept else usual.get(places[index], token.space)
        written.append((space if index else "") + text)
    return "".join(written)


def _usual_spaces(places: Sequence[str], kept: Mapping[int, _Token]) -> Mapping[str, str]:
    """The most frequent white space of the draft at each place."""
    found: dict[str, Counter[str]] = {}
    for index, token in kept.items():
        found.setdefault(places[index], Counter())[token.space] += 1
    return {place: spaces.most_common(1)[0][0] for place, spaces in found.items()}


def _place(before: str, token: str) -> str:
    """What decides the usual white space before a token."""
    return f"before {token}" if token in ("}", "]", ",", ":") else f"after {before}"


def _tokens(text: str) -> list[_Token]:
    tokens = []
    end = 0
    for match in _TOKEN.finditer(text):
        found = match.group()
        tokens.append(_Token(_meaning(found), found, text[end : match.start()]))
        end = match.end()
    return tokens


def _meaning(token: str) -> str:
    """Equal for two spellings of one number or string; only JSON's own spelling of either counts."""
    try:
        value = json.loads(token)
    except (ValueError, RecursionError):
        return token
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"number {float(value)!r}" if abs(value) < 1e15 else token
    return f"text {value}" if isinstance(value, str) else token


def _matches(known: Sequence[str], target: Sequence[str]) -> dict[int, int]:
    """For the tokens of `target` that are kept, their places in `known`."""
    return {
        block.dest_start + offset: block.src_start + offset
        for block in Indel.opcodes(known, target)
        if block.tag == "equal"
        for offset in range(block.dest_end - block.dest_start)
    }


def _key_places(draft: str) -> Mapping[str, int]:
    """Where the draft first has each field."""
    places: dict[str, int] = {}
    for match in _KEY.finditer(draft):
        places.setdefault(match.group(1), match.start())
    return places


def _in_order(value: Any, places: Mapping[str, int], missing_last: bool) -> Any:
    """The fields of every object in the draft's order; see `in_layout_of`."""
    if isinstance(value, list):
        return [_in_order(item, places, missing_last) for item in value]
    if not isinstance(value, Mapping):
        return value
    before: float = -1
    ordered = []
    for rank, name in enumerate(value):
        before = places.get(name, math.inf if missing_last else before)
        ordered.append((before, rank, name))
    return {name: _in_order(value[name], places, missing_last) for _, _, name in sorted(ordered)}

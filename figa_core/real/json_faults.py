"""Answers with faults: a JSON object that is right, and versions of it that are wrong, in any layout.

The reward model of `figa demo --real` learns from them; the domain's verifier says how good each one is.
"""

import copy
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Answer = Mapping[str, Any]

_FAULTS_MAX = 5
_PREAMBLES = ("Here is the JSON:\n", "Sure! ", "```json\n", "The order as JSON object is:\n\n", "JSON:\n")
_ENDINGS = ("\n```", "\n\nI hope this helps!", "\n\nJSON:\n{", " }", "\n")
_LAYOUTS = ((None, (", ", ": ")), (None, (",", ":")), (2, (",", ": ")), (4, (",", ": ")))
_SORTED_SHARE = 0.3
_BROKEN_SHARE, _SURROUNDED_SHARE = 0.15, 0.2


def faulty_answer(right: Answer, others: Sequence[Answer], rng: random.Random) -> tuple[str, str]:
    """The answer with some faults, sometimes none, and the right one in the same layout.

    `others` are right answers to other tasks.
    """
    answer = copy.deepcopy(dict(right))
    for _ in range(rng.randint(0, _FAULTS_MAX)):
        rng.choice(_FAULTS)(answer, rng.choice(others), rng)
    layout = rng.random()
    text, right_text = (in_layout(each, random.Random(layout)) for each in (answer, right))
    if rng.random() < _SURROUNDED_SHARE:
        text = rng.choice((rng.choice(_PREAMBLES) + text, text + rng.choice(_ENDINGS)))
    return _broken(text, rng) if rng.random() < _BROKEN_SHARE else text, right_text


def in_layout(answer: Answer, rng: random.Random) -> str:
    """The object written as models or the references write it: equal draws, equal layouts."""
    indent, separators = rng.choice(_LAYOUTS)
    return json.dumps(
        answer,
        indent=indent,
        separators=separators,
        ensure_ascii=False,
        sort_keys=rng.random() < _SORTED_SHARE,
    )


def _broken(text: str, rng: random.Random) -> str:
    """Cut off, or without a character that JSON needs."""
    if rng.random() < 0.5:
        return text[: rng.randint(1, max(1, len(text) - 1))]
    places = [index for index, character in enumerate(text) if character in '{}[]",:']
    place = rng.choice(places)
    return text[:place] + text[place + 1 :]


def _holder(value: Any, rng: random.Random) -> Any:
    """A random object or list within the answer that has something in it."""
    inner = list(value.values()) if isinstance(value, dict) else value
    return rng.choice(
        [value, *(_holder(each, rng) for each in inner if isinstance(each, dict | list) and each)]
    )


def _place(holder: Any, rng: random.Random) -> Any:
    return rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))


def _lose(answer: dict[str, Any], _other: Answer, rng: random.Random) -> None:
    holder = _holder(answer, rng)
    if len(holder) > 1:
        del holder[_place(holder, rng)]


def _take_from_another(answer: dict[str, Any], other: Answer, rng: random.Random) -> None:
    """The value that another task has there, or any other leaf of its answer."""
    holder = _holder(answer, rng)
    place = _place(holder, rng)
    if isinstance(holder[place], dict | list):
        return
    leaves = dict(_leaves(other))
    holder[place] = leaves[place] if place in leaves else rng.choice(list(leaves.values()))


def _change(answer: dict[str, Any], _other: Answer, rng: random.Random) -> None:
    """Another number, another truth, or a text with other characters."""
    holder = _holder(answer, rng)
    place = _place(holder, rng)
    value = holder[place]
    if isinstance(value, bool):
        holder[place] = not value
    elif isinstance(value, int | float):
        holder[place] = rng.choice((value + 1, value * 10, 0, 1, rng.randint(2, 100)))
    elif isinstance(value, str) and value:
        at = rng.randrange(len(value))
        digit = str(rng.randrange(10)) if value[at].isdigit() else ""
        holder[place] = rng.choice((value[:at] + digit + value[at + 1 :], "", "string", value.upper()))


def _retype(answer: dict[str, Any], _other: Answer, rng: random.Random) -> None:
    holder = _holder(answer, rng)
    place = _place(holder, rng)
    if not isinstance(holder[place], dict | list | str):
        holder[place] = str(holder[place])


def _add(answer: dict[str, Any], other: Answer, rng: random.Random) -> None:
    holder = _holder(answer, rng)
    name, value = rng.choice(list(other.items()))
    if isinstance(holder, dict):
        holder.setdefault(name, copy.deepcopy(value))
    else:
        holder.append(copy.deepcopy(holder[0]))


def _flatten(answer: dict[str, Any], _other: Answer, rng: random.Random) -> None:
    """A nested object's fields beside it instead of in it."""
    nested = [name for name, value in answer.items() if isinstance(value, dict)]
    if nested:
        answer.update(answer.pop(rng.choice(nested)))


_FAULTS: tuple[Callable[[dict[str, Any], Answer, random.Random], None], ...] = (
    _lose,
    _take_from_another,
    _take_from_another,
    _change,
    _change,
    _retype,
    _add,
    _flatten,
)


def _leaves(value: Any, place: Any = None) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return [leaf for name, inner in value.items() for leaf in _leaves(inner, name)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner, place)]
    return [(place, value)]

"""Structured output: an order or a booking in words is to become one JSON object of a stated form.

The types of prompts are graded: `short`, `booking` (a sum, a date, a time, an optional field), `nested` (with
a product) and `list` (with weights to convert).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from figa_core.domains.base import Domain, Row, least_edited, task_numbers, user_texts
from figa_core.domains.json_layout import in_layout_of
from figa_core.domains.structured_world import KINDS, VERSION, Task, draw_task, write_reference
from figa_core.records import Message

BARE_WEIGHT = 0.1
"""For a JSON object with nothing around it; the rest is for its fields."""
BROKEN_CREDIT = 0.5
WRONG_TYPE_CREDIT = 0.5
"""For a field with the right value in the wrong type, such as "3" instead of 3."""

_REF = re.compile(r"\b(?:Order|Booking) K-(\d{6}):")
_OBJECT = re.compile(r'\{\s*["}]')
_STRING = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"'
_NUMBER = r"-?(?:0|[1-9]\d{0,9})(?:\.\d{1,9})?(?![\w.])"
_FIELD = re.compile(rf'"(?P<name>\w+)"\s*:\s*(?P<value>{_STRING}|{_NUMBER}|true|false)')
_LENGTH_MAX = 20_000  # characters of an answer that are read
_DEPTH_MAX = 20
_MISSING = object()


def rows(count: int, seed: int) -> Iterator[Row]:
    """Rows with different reference numbers, drawn by `seed`.

    Raises:
        ValueError: `count` is more than there are numbers.
    """
    for number in task_numbers(count, seed):
        task = draw_task(number)
        yield Row(
            id=f"structured-{number}",
            prompt=[message.as_dict() for message in task.messages],
            reference=write_reference(task.answer),
            type=task.kind,
        )


def verify(messages: Sequence[Message], text: str) -> float:
    """Score an answer from 0 to 1 by its first JSON object.

    Every field counts alike, nested ones too; a field that should not be there counts as a wrong one. Without
    a whole object, the fields that can be read count half, by their names.

    Raises:
        ValueError: the messages are no prompt of this domain.
    """
    task = _task(messages)
    found, bare = _first_object(text[:_LENGTH_MAX])
    if found is None:
        return BROKEN_CREDIT * _share_by_name(task.answer, text[:_LENGTH_MAX])
    right, fields = dict(_flat_fields(task.answer)), list(_flat_fields(found))
    given = dict(reversed(fields))  # of fields with one name the first
    credit = sum(_credit(value, given.get(path, _MISSING)) for path, value in right.items())
    share = credit / (len(right) + len(fields) - len(right.keys() & given.keys()))
    # Nothing around an object of nothing right is no merit.
    return (1 - BARE_WEIGHT) * share + (BARE_WEIGHT if bare and share > 0 else 0.0)


def correct(messages: Sequence[Message], draft: str, reference: str | None = None) -> str | None:
    """The draft with the right values, in its own layout and order of fields; see `Domain.correct`."""
    if verify(messages, draft) == 1.0:
        return draft
    answer = _task(messages).answer
    corrected = [in_layout_of(draft, answer, missing_last=last) for last in (False, True)]
    return least_edited(draft, corrected, reference)


def answers(messages: Sequence[Message]) -> Sequence[str]:
    """The right object as models write it, and as the references do."""
    right = _task(messages).answer
    return json.dumps(right, ensure_ascii=False), write_reference(right)


def _task(messages: Sequence[Message]) -> Task:
    found = list(_REF.finditer(user_texts(messages)))
    if not found:
        raise ValueError("this is no prompt of the domain 'structured': it names no order or booking")
    task = draw_task(int(found[-1].group(1)))  # after the example
    if tuple(messages[-len(task.messages) :]) != task.messages:
        raise ValueError(
            f"the prompt {found[-1].group()!r} was made by another version of the domain 'structured' (this "
            f"is {VERSION}). Build its prompts again."
        )
    return task


class _Pairs(list[tuple[str, Any]]):
    """A JSON object that keeps repeated names."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs)


def _first_object(text: str) -> tuple[_Pairs | None, bool]:
    """The first JSON object in the text, and whether there is nothing around it."""
    begun = _OBJECT.search(text)
    if begun is None:
        return None, False
    try:
        value, end = _DECODER.raw_decode(text, begun.start())
    except (ValueError, RecursionError):
        return None, False
    return value, not text[: begun.start()].strip() and not text[end:].strip()


def _share_by_name(answer: Mapping[str, Any], text: str) -> float:
    """The share of right fields among those that a broken text names, in their order."""
    given: dict[str, list[Any]] = {}
    for match in _FIELD.finditer(text):
        given.setdefault(match["name"], []).append(json.loads(match["value"]))
    right: dict[str, list[Any]] = {}
    for path, value in _flat_fields(answer):
        right.setdefault(path.rpartition("/")[2].strip("'"), []).append(value)
    credit = sum(
        _credit(value, written)
        for name, values in right.items()
        for value, written in zip(values, given.get(name, []), strict=False)
    )
    return credit / max(sum(map(len, right.values())), sum(map(len, given.values())))


def _flat_fields(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Path and value of every field that holds no others; what is empty or very deep is a value."""
    if isinstance(value, Mapping):
        value = _Pairs(value.items())
    if not isinstance(value, list) or not value or depth > _DEPTH_MAX:
        yield path, value
        return
    for index, item in enumerate(value):
        name, inner = (repr(item[0]), item[1]) if isinstance(value, _Pairs) else (f"[{index}]", item)
        yield from _flat_fields(inner, f"{path}/{name}", depth + 1)


def _credit(right: object, given: object) -> float:
    """1 for the right value in the right type, `WRONG_TYPE_CREDIT` for the wrong type, else 0."""
    if given is _MISSING or isinstance(given, list):
        return 0.0
    if isinstance(right, str | bool) or isinstance(given, bool):
        if type(given) is type(right) and given == right:
            return 1.0
    elif isinstance(given, int | float) and given == right:
        return 1.0
    same = _plain(given) == _plain(right) or _number(given) == _number(right) is not None
    return WRONG_TYPE_CREDIT if same and type(given) is not type(right) else 0.0


def _plain(value: object) -> str:
    return str(value).strip().lower()


def _number(value: object) -> float | None:
    try:
        return None if isinstance(value, bool) else float(str(value))
    except ValueError:
        return None


DOMAIN = Domain("structured", VERSION, KINDS, rows, verify, correct, answers)

"""The structured-output world: orders and bookings in words, each with the JSON object that says the same.

A task is drawn from its reference number alone. So whoever sees a prompt, which states the number, can draw
the task again and knows the right answer.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from figa_core.domains import structured_words as w
from figa_core.records import Message

VERSION = 1
NOTE_SHARE = 0.4
LIST_OF_THREE_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Task:
    """One task: its type, the prompt with another task as an example, and the right answer."""

    kind: str
    messages: tuple[Message, ...]
    answer: Mapping[str, Any]


_Content = tuple[str, dict[str, Any], Sequence[str]]
"""What a task is about: order or booking, the right answer, and the sentences that say it."""


def draw_task(number: int) -> Task:
    """The task with this reference number."""
    rng = random.Random(f"structured/{VERSION}/{number}")
    kind = rng.choice(KINDS)
    example, shown = _written(*_WRITERS[kind](rng), rng.randrange(100_000, 1_000_000))
    text, answer = _written(*_WRITERS[kind](rng), number)
    task = " ".join((f"{rng.choice(w.TASKS)} {w.FORMS[kind]}.", *w.RULES[kind], rng.choice(w.ENDINGS)))
    messages = (
        Message("user", f"{task}\n\n{example}"),
        Message("assistant", json.dumps(shown)),
        Message("user", text),
    )
    return Task(kind, messages, answer)


def write_reference(answer: Mapping[str, Any]) -> str:
    """The answer in the style of the references: fields in alphabetical order, no space between them."""
    return json.dumps(answer, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _written(
    subject: str, answer: dict[str, Any], sentences: Sequence[str], number: int
) -> tuple[str, dict[str, Any]]:
    return f"{subject} K-{number}: {' '.join(sentences)}", answer


def _short(rng: random.Random) -> _Content:
    count, item = _number(rng), rng.choice(w.ITEMS)
    colour, city = rng.choice(w.COLOURS), rng.choice(w.CITIES)
    asked = rng.choice(
        (
            "Please send {} {} {}s to {}.",
            "I would like {} {} {}s, delivered to {}.",
            "We need {} {} {}s in {}.",
        )
    )
    answer = {"item": item, "colour": colour, "quantity": w.NUMBERS[count], "city": city}
    return "Order", answer, [asked.format(count, colour, item, city)]


def _booking(rng: random.Random) -> _Content:
    name, time = rng.choice(w.NAMES), rng.choice(tuple(w.TIMES))
    adults, children = (rng.choice(tuple(w.GUESTS)) for _ in range(2))
    date_words, date = _date(rng)
    note_words, note = _note(rng)
    who = f"{adults} adult{'s' * (adults != 'one')} and {children} child{'ren' * (children != 'one')}"
    sentences = [f"A table for {who} on {date_words} at {time}.", f"The name is {name}.", *note_words]
    people = w.GUESTS[adults] + w.GUESTS[children]
    answer = {"name": name, "people": people, "date": date, "time": w.TIMES[time], **note}
    return "Booking", answer, _shuffled(sentences, rng)


def _nested(rng: random.Random) -> _Content:
    count, item, size = _number(rng), rng.choice(w.ITEMS), rng.choice(tuple(w.SIZES))
    name, city = rng.choice(w.NAMES), rng.choice(w.CITIES)
    price = rng.choice((2, 3, 4, 5, 6, 8, 10, 11, 12, 15, 20, 25, 30, 2.5, 7.5))
    total = w.NUMBERS[count] * price
    shown = f"{price:.2f}" if price % 1 else price
    who = rng.choice(("Here is {} in {}.", "I am {} from {}."))
    sentences = [who.format(name, city), f"I order {count} {item}s, size {size}, at {shown} euros each."]
    answer = {
        "customer": {"name": name, "city": city},
        "item": {"name": item, "size": w.SIZES[size]},
        "quantity": w.NUMBERS[count],
        "total": int(total) if total % 1 == 0 else total,
    }
    return "Order", answer, _shuffled(sentences, rng)


def _list(rng: random.Random) -> _Content:
    items = rng.sample(w.ITEMS, 3 if rng.random() < LIST_OF_THREE_SHARE else 2)
    lines = [(_number(rng), item, rng.choice(tuple(w.WEIGHTS))) for item in items]
    date_words, date = _date(rng)
    note_words, note = _note(rng)
    parts = [f"{count} {item}s of {weight} each" for count, item, weight in lines]
    sentences = [f"I need everything by {date_words}.", *note_words]
    answer = {
        "deliver_by": date,
        "lines": [
            {"item": item, "quantity": w.NUMBERS[count], "grams": w.WEIGHTS[weight]}
            for count, item, weight in lines
        ],
        **note,
    }
    asked = f"Please send {', '.join(parts[:-1])} and {parts[-1]}."
    return "Order", answer, [asked, *_shuffled(sentences, rng)]


_WRITERS: Mapping[str, Callable[[random.Random], _Content]] = {
    "short": _short,
    "booking": _booking,
    "nested": _nested,
    "list": _list,
}
KINDS = tuple(_WRITERS)


def _number(rng: random.Random) -> str:
    return rng.choice(tuple(w.NUMBERS))


def _date(rng: random.Random) -> tuple[str, str]:
    """A date in words and in ISO's form."""
    month, day, year = rng.randint(1, 12), rng.randint(1, 28), rng.choice((2026, 2027, 2028))
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(day % 10 if day not in (11, 12, 13) else 0, "th")
    form = rng.choice(("the {d}{s} of {m} {y}", "{m} {d}{s}, {y}", "{d} {m} {y}"))
    return form.format(d=day, s=suffix, m=w.MONTHS[month - 1], y=year), f"{year}-{month:02}-{day:02}"


def _note(rng: random.Random) -> tuple[list[str], dict[str, str]]:
    """The sentence with a note and its field, or neither."""
    note, words = rng.choice(w.NOTES), rng.choice(("Note: {}.", "Please note: {}."))
    return ([words.format(note)], {"note": note}) if rng.random() < NOTE_SHARE else ([], {})


def _shuffled(sentences: Sequence[str], rng: random.Random) -> list[str]:
    return rng.sample(sentences, len(sentences))

"""Orders in words → one JSON object: prompts, a verifier of 0 to 100, and a reviser that edits in place.

The reviser is a script. It keeps what it can of a draft: the order of its members, its spaces and its lines.
It replaces wrong values, adds missing members, and removes foreign ones and the text around the object.
"""

import json
import random
import re
from dataclasses import dataclass
from typing import Any

INSTRUCTION = "Write each order as one JSON object. The quantity is a number."
EXAMPLE = (
    "We would like ten pink vases for our shop in Madrid.",
    '{"item": "vase", "colour": "pink", "quantity": 10, "city": "Madrid"}',
)
_ITEMS = (
    *("jacket", "lamp", "chair", "kettle", "scarf", "desk"),
    *("backpack", "bicycle", "mirror", "blanket", "umbrella", "clock"),
)
_COLOURS = ("red", "orange", "green", "blue", "white", "black", "purple", "yellow", "brown", "grey")
_CITIES = (
    *("Nairobi", "Lisbon", "Oslo", "Lima", "Hanoi", "Dublin"),
    *("Quito", "Vienna", "Cairo", "Boston", "Seoul", "Milan"),
)
_NUMBERS = {
    "a pair of": 2,
    "half a dozen": 6,
    "seven": 7,
    "nine": 9,
    "a dozen": 12,
    "fifteen": 15,
    "twenty-one": 21,
    "two dozen": 24,
}
_SENTENCES = (
    "I'd like {n} {colour} {item}s sent to {city}, please.",
    "Please ship {n} {item}s in {colour} to our office in {city}.",
    "{city} needs {n} {item}s. Make them {colour}.",
    "Could we have {n} {item}s, all {colour}, delivered to {city}?",
    "We're moving to {city} and want {n} {colour} {item}s there.",
    "Send {n} {colour} {item}s to my sister in {city}.",
)
_KEYS = ("item", "colour", "quantity", "city")
_MEMBER = re.compile(r'"(?P<key>[^"\n]*)"(?P<colon>\s*:\s*)(?P<value>"[^"\n]*"?|[^,}\n]*)')


@dataclass(frozen=True, slots=True)
class Order:
    """An order as a customer writes it, and what it says."""

    text: str
    truth: dict[str, str | int]


def orders(count: int, seed: int) -> list[Order]:
    """Different orders, the same for the same seed."""
    rng, found = random.Random(seed), dict[str, Order]()
    while len(found) < count:
        word = rng.choice(sorted(_NUMBERS))
        item, colour, city = rng.choice(_ITEMS), rng.choice(_COLOURS), rng.choice(_CITIES)
        text = rng.choice(_SENTENCES).format(n=word, item=item, colour=colour, city=city)
        text = text[0].upper() + text[1:]
        truth = {"item": item, "colour": colour, "quantity": _NUMBERS[word], "city": city}
        found[text] = Order(text, truth)
    return list(found.values())


def score(order: Order, answer: str) -> float:
    """Of 100: 20 for an answer that is one JSON object, 20 for each right member; foreign members cost 10.

    An answer that is not JSON as a whole gets 0.
    """
    try:
        found = json.loads(answer)
    except ValueError:
        return 0.0
    if not isinstance(found, dict):
        return 0.0
    right = sum(_equal(found.get(key), value) for key, value in order.truth.items())
    return max(20.0 + 20.0 * right - 10.0 * len(found.keys() - order.truth.keys()), 0.0)


def _equal(found: Any, truth: str | int) -> bool:
    if isinstance(truth, int):
        return type(found) is int and found == truth
    return isinstance(found, str) and found.lower() == truth.lower()


def repaired(order: Order, draft: str) -> str:
    """A right answer that keeps as much of the draft as it can."""
    start = draft.find("{")
    body = draft[start + 1 :] if start >= 0 else ""
    members: dict[str, re.Match[str]] = {}
    for match in _MEMBER.finditer(body):
        if match["key"] in _KEYS:
            members.setdefault(match["key"], match)
    before = body[: min((match.start() for match in members.values()), default=0)]
    opening = before if before.isspace() else ""
    written = [
        f'"{key}"{match["colon"]}{_kept_or_right(match["value"].strip(), order.truth[key])}'
        for key, match in members.items()
    ]
    written += [f'"{key}": {json.dumps(order.truth[key])}' for key in _KEYS if key not in members]
    in_lines = "\n" in opening
    between = "," + (opening if in_lines else " ")
    return "{" + opening + between.join(written) + ("\n" if in_lines else opening) + "}"


def _kept_or_right(written: str, truth: str | int) -> str:
    try:
        right = _equal(json.loads(written), truth)
    except ValueError:
        right = False
    return written if right else json.dumps(truth)

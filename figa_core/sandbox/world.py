"""The sandbox world: support requests, good replies and faulty replies, drawn from a seeded generator.

A request states six facts (`Slot`). A good reply has all of them right, is polite and complete. A faulty
reply has the weak writer's faults.
"""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from figa_core.records import Message
from figa_core.sandbox import vocabulary as v
from figa_core.sandbox.vocabulary import Slot, Style


class FaultKind(StrEnum):
    """Everything that can be wrong with a reply."""

    WRONG_NAME = "wrong_name"
    WRONG_ITEM = "wrong_item"
    WRONG_COLOUR = "wrong_colour"
    WRONG_CITY = "wrong_city"
    WRONG_STATUS = "wrong_status"
    WRONG_DAYS = "wrong_days"
    RUDE = "rude"
    NO_CLOSING = "no_closing"
    REPEATED = "repeated"


SLOT_FAULTS = {Slot(kind.removeprefix("wrong_")): kind for kind in FaultKind if kind.startswith("wrong_")}


FAULT_RATES = {
    "slot_habit": 0.70,
    "slot_slip": 0.06,
    "rude_habit": 0.70,
    "rude_slip": 0.06,
    "no_closing": 0.15,
    "repeated": 0.12,
}
"""How often the weak writer makes mistakes. Fixed before any method was tried on the world; they stay.

They give the faulty text a mean score of 0.81, and 12 % (names) to 33 % (colours, days) wrong slots. A habit
applies to values that the writer confuses (`CONFUSIONS`) or loses patience over (`RUDE_STATUSES`), a slip to
all others. A model that learns a habit is sure of it, so habits appear in greedy text too.
"""

SYSTEM_SHARE = 0.3
APOLOGY_SHARE = 0.5
NOTE_SHARE = 0.5
OFFER_SHARE = 0.8


Facts = Mapping[Slot, str]
"""The facts of one request: a value for every slot."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, sentence by sentence."""

    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """A good reply before its slots are filled. The two phrases from index `body` on hold the facts."""

    phrases: tuple[str, ...]
    body: int


def sample_facts(rng: random.Random) -> Facts:
    """Six independent, uniform values."""
    return {slot: rng.choice(values) for slot, values in v.SLOT_VALUES.items()}


def write_request(facts: Facts, rng: random.Random) -> tuple[Message, ...]:
    """A user message that states all facts, sometimes after a system message."""
    parts = (rng.choice(v.REQUEST_OPENINGS), rng.choice(v.REQUEST_FACTS), rng.choice(v.REQUEST_QUESTIONS))
    user = Message("user", " ".join(parts).format(**facts))
    if rng.random() < SYSTEM_SHARE:
        return (Message("system", rng.choice(v.SYSTEM_TEXTS)), user)
    return (user,)


def plan_reply(style: Style, rng: random.Random) -> ReplyPlan:
    """Draw one of the many ways to write a reply in `style`."""
    opening = [f"{rng.choice(style.salutations)} {rng.choice(style.thanks)}"]
    if rng.random() < APOLOGY_SHARE:
        opening.append(rng.choice(style.apologies))
    body = [rng.choice(style.statuses), rng.choice(style.deliveries)]
    if rng.random() < style.delivery_first:
        body.reverse()
    ending = [rng.choice(style.notes)] if rng.random() < NOTE_SHARE else []
    if rng.random() < OFFER_SHARE:
        ending.append(rng.choice(style.offers))
    ending.append(rng.choice(style.closings))
    return ReplyPlan((*opening, *body, *ending), len(opening))


def good_reply(facts: Facts, rng: random.Random, style: Style = v.WRITER_STYLE) -> Reply:
    return with_faults(facts, plan_reply(style, rng), (), rng)


def faulty_reply(facts: Facts, rng: random.Random) -> Reply:
    """A reply of the weak writer, often without any fault."""
    return with_faults(facts, plan_reply(v.WRITER_STYLE, rng), draw_faults(facts, rng), rng)


def draw_faults(facts: Facts, rng: random.Random) -> tuple[FaultKind, ...]:
    """Each kind independently, by its rate for these facts."""
    rates = {
        kind: "slot_habit" if facts[slot] in v.CONFUSIONS[slot] else "slot_slip"
        for slot, kind in SLOT_FAULTS.items()
    }
    rates[FaultKind.RUDE] = "rude_habit" if facts[Slot.STATUS] in v.RUDE_STATUSES else "rude_slip"
    return tuple(kind for kind in FaultKind if rng.random() < FAULT_RATES[rates.get(kind, kind)])


def with_faults(facts: Facts, plan: ReplyPlan, faults: Collection[FaultKind], rng: random.Random) -> Reply:
    """Write the plan out with exactly these faults.

    A rude sentence never comes first or last; a repeated one follows itself; the last phrase is the closing.
    """
    confused = {
        slot: _confused(slot, facts[slot], rng) for slot, kind in SLOT_FAULTS.items() if kind in faults
    }
    sentences = [phrase.format(**{**facts, **confused}) for phrase in plan.phrases]
    if FaultKind.NO_CLOSING in faults:
        sentences.pop()
    if FaultKind.REPEATED in faults:
        index = plan.body + rng.randrange(2)
        sentences.insert(index, sentences[index])
    if FaultKind.RUDE in faults:
        sentences.insert(rng.randrange(1, plan.body + 3), rng.choice(v.RUDE_SENTENCES))
    return Reply(tuple(sentences))


def _confused(slot: Slot, value: str, rng: random.Random) -> str:
    """A wrong value: the habitual confusion if there is one, else any other value."""
    habit = v.CONFUSIONS[slot].get(value)
    return habit or rng.choice([other for other in v.SLOT_VALUES[slot] if other != value])

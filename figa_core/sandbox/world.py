"""The sandbox world: support requests, good replies, faulty replies, all drawn from a seeded generator.

A request states six facts (`Slot`); a good reply uses all of them right, is polite and complete.
`faulty_reply` is the same with the weak writer's faults, and says which ones it made.
"""

import random
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from figa_core.records import Message
from figa_core.sandbox import vocabulary as v
from figa_core.sandbox.vocabulary import Slot, Style


class FaultKind(StrEnum):
    """What can be wrong with a reply."""

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


@dataclass(frozen=True, slots=True)
class FaultRates:
    """How often the weak writer goes wrong. Fixed before any method was tried on the world; they stay.

    Set by one look at the verifier's mean score of the world's own faulty text (0.81) and the share of
    wrong slots (12 % of the names to 33 % of the colours and days); never by what a training makes of it.
    A `habit` applies where the writer confuses a value (`vocabulary.CONFUSIONS`) or loses patience
    (`vocabulary.RUDE_STATUSES`), a `slip` everywhere else. Habits make the faults a model's own: it is
    sure of them, so they show in greedy text too.
    """

    slot_habit: float = 0.70
    slot_slip: float = 0.06
    rude_habit: float = 0.70
    rude_slip: float = 0.06
    no_closing: float = 0.15
    repeated: float = 0.12


FAULT_RATES = FaultRates()
SYSTEM_SHARE = 0.3
APOLOGY_SHARE = 0.5
NOTE_SHARE = 0.5
OFFER_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one request, each a value of its slot."""

    name: str
    item: str
    colour: str
    city: str
    status: str
    days: str

    def value(self, slot: Slot) -> str:
        """The value of one slot."""
        return getattr(self, slot.value)

    def with_value(self, slot: Slot, value: str) -> "Facts":
        """A copy in which one slot has another value."""
        return replace(self, **{slot.value: value})

    def render(self, template: str) -> str:
        """Fill a phrase's slots."""
        return template.format(**{field.name: getattr(self, field.name) for field in fields(self)})


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, sentence by sentence; `faults` is empty for a good one."""

    sentences: tuple[str, ...]
    faults: tuple[FaultKind, ...] = ()

    @property
    def text(self) -> str:
        """The sentences joined by single spaces."""
        return " ".join(self.sentences)


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """A good reply before its slots are filled: phrases, and where body and closing are."""

    phrases: tuple[str, ...]
    body: tuple[int, ...]  # indices of the two phrases with the facts


def sample_facts(rng: random.Random) -> Facts:
    """Six independent, uniform values."""
    return Facts(**{slot.value: rng.choice(values) for slot, values in v.SLOT_VALUES.items()})


def write_request(facts: Facts, rng: random.Random) -> tuple[Message, ...]:
    """A user message that states all facts, sometimes after a system message."""
    parts = (rng.choice(v.REQUEST_OPENINGS), rng.choice(v.REQUEST_FACTS), rng.choice(v.REQUEST_QUESTIONS))
    user = Message("user", facts.render(" ".join(parts)))
    if rng.random() < SYSTEM_SHARE:
        return (Message("system", rng.choice(v.SYSTEM_TEXTS)), user)
    return (user,)


def plan_reply(style: Style, rng: random.Random) -> ReplyPlan:
    """Draw one of the many ways in which `style` says the same."""
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
    first = len(opening)
    return ReplyPlan(tuple(opening + body + ending), (first, first + 1))


def good_reply(facts: Facts, rng: random.Random, style: Style = v.WRITER_STYLE) -> Reply:
    """A reply without faults."""
    plan = plan_reply(style, rng)
    return Reply(tuple(facts.render(phrase) for phrase in plan.phrases))


def faulty_reply(
    facts: Facts, rng: random.Random, style: Style = v.WRITER_STYLE, rates: FaultRates = FAULT_RATES
) -> Reply:
    """A reply of the weak writer, with the faults that `rates` let happen (often none)."""
    return with_faults(facts, plan_reply(style, rng), draw_faults(facts, rng, rates), rng)


def draw_faults(facts: Facts, rng: random.Random, rates: FaultRates = FAULT_RATES) -> tuple[FaultKind, ...]:
    """Each kind independently, by its rate for these facts."""
    chances = {
        kind: rates.slot_habit if facts.value(slot) in v.CONFUSIONS[slot] else rates.slot_slip
        for slot, kind in SLOT_FAULTS.items()
    }
    chances[FaultKind.RUDE] = rates.rude_habit if facts.status in v.RUDE_STATUSES else rates.rude_slip
    chances[FaultKind.NO_CLOSING] = rates.no_closing
    chances[FaultKind.REPEATED] = rates.repeated
    return tuple(kind for kind in FaultKind if rng.random() < chances[kind])


def with_faults(facts: Facts, plan: ReplyPlan, faults: tuple[FaultKind, ...], rng: random.Random) -> Reply:
    """Write the plan out with exactly these faults.

    A rude sentence comes after any sentence but the last; a repeated one follows itself. The closing is
    the plan's last phrase.
    """
    written = facts
    for slot, kind in SLOT_FAULTS.items():
        if kind in faults:
            written = written.with_value(slot, confuse(slot, facts.value(slot), rng))
    sentences = [written.render(phrase) for phrase in plan.phrases]
    if FaultKind.NO_CLOSING in faults:
        sentences.pop()
    if FaultKind.REPEATED in faults:
        index = rng.choice(plan.body)
        sentences.insert(index, sentences[index])
    if FaultKind.RUDE in faults:
        sentences.insert(rng.randrange(1, plan.body[-1] + 2), rng.choice(v.RUDE_SENTENCES))
    return Reply(tuple(sentences), faults)


def confuse(slot: Slot, value: str, rng: random.Random) -> str:
    """A wrong value: the habitual confusion where there is one, else any other value."""
    habit = v.CONFUSIONS[slot].get(value)
    return habit or rng.choice([other for other in v.SLOT_VALUES[slot] if other != value])

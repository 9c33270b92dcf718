"""The words of the sandbox world: slot values, phrases, and which values its weak writer confuses.

Every slot's values are single lower-case or capitalised words, no word belongs to two slots, and no phrase
contains a slot value, so a text's words alone show its facts. A space precedes every value, so that
byte-level BPE gives each one token, in prompts and replies alike.

The words were fixed before any method was tried on the world, and must not be changed to favour one. They
are part of a sandbox's content id (`recipe.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Slot(StrEnum):
    """The facts of a support request."""

    NAME = "name"
    ITEM = "item"
    COLOUR = "colour"
    CITY = "city"
    STATUS = "status"
    DAYS = "days"


SLOT_VALUES: Mapping[Slot, tuple[str, ...]] = {
    slot: tuple(words.split())
    for slot, words in {
        Slot.NAME: "Anna Boris Clara David Elena Felix Greta Henry Irene Jonas Karen Laura Martin Nadia "
        "Oscar Carla",
        Slot.ITEM: "lamp chair kettle jacket camera mirror table blanket clock teapot shelf sofa",
        Slot.COLOUR: "red blue green black white brown teal grey purple pink",
        Slot.CITY: "Oslo Rome Paris Lima Dublin Vienna Lisbon Boston Prague Bergen Milan Porto",
        Slot.STATUS: "shipped packed delayed returned repaired reserved lost damaged",
        Slot.DAYS: "2 3 4 5 6 7 8 9 12 14",
    }.items()
}
SLOT_OF_WORD: Mapping[str, Slot] = {word: slot for slot, words in SLOT_VALUES.items() for word in words}

CONFUSIONS: Mapping[Slot, Mapping[str, str]] = {
    Slot.NAME: {"Carla": "Clara", "Irene": "Elena"},
    Slot.ITEM: {"teapot": "kettle", "shelf": "table", "sofa": "chair"},
    Slot.COLOUR: {"teal": "green", "grey": "black", "purple": "blue", "pink": "red"},
    Slot.CITY: {"Bergen": "Oslo", "Milan": "Rome", "Porto": "Lisbon"},
    Slot.STATUS: {"reserved": "packed", "repaired": "returned"},
    Slot.DAYS: {"8": "6", "9": "6", "12": "7", "14": "7"},
}
"""Values that the weak writer habitually confuses: most of its faults are habits, as a model's are."""

SYSTEM_TEXTS = (
    "You answer for customer support.",
    "You are a polite support agent. Answer in a few sentences.",
    "Answer the customer kindly and use all the facts.",
)

REQUEST_OPENINGS = (
    "Hi, {name} here.",
    "Hello, my name is {name}.",
    "Good day, this is {name}.",
    "I am {name}.",
)
REQUEST_FACTS = (
    "I ordered a {colour} {item} to {city}. The page says it is {status} and takes {days} days.",
    "It is about my {colour} {item} for {city}. It shows as {status}, with {days} days to go.",
    "I live in {city} and bought a {colour} {item}. Now I read {status}, and {days} days.",
    "My order is a {colour} {item}, marked {status}. It should be in {city} in {days} days.",
    "You list {days} days to {city} for my {colour} {item}, and it is {status}.",
)
REQUEST_QUESTIONS = (
    "What is going on?",
    "Can you tell me more?",
    "Please confirm.",
    "Is that right?",
    "When will it come?",
)


@dataclass(frozen=True, slots=True)
class Style:
    """One way of writing replies: alternatives for each part, and the order of the parts."""

    salutations: tuple[str, ...]
    thanks: tuple[str, ...]
    apologies: tuple[str, ...]
    statuses: tuple[str, ...]
    deliveries: tuple[str, ...]
    notes: tuple[str, ...]
    offers: tuple[str, ...]
    closings: tuple[str, ...]
    delivery_first: float  # share of replies with the delivery before the status


WRITER_STYLE = Style(
    salutations=("Dear {name},", "Hello {name},", "Hi {name},", "Good morning {name},"),
    thanks=(
        "thank you for your message.",
        "thank you for writing to us.",
        "thanks for getting in touch.",
        "thank you for your question.",
        "thanks for reaching out.",
    ),
    apologies=(
        "We are sorry for the trouble.",
        "I understand that waiting is not easy.",
        "We are happy to look into it.",
        "I have checked your order.",
    ),
    statuses=(
        "Your {colour} {item} has been {status}.",
        "Our system shows that your {colour} {item} is {status}.",
        "I can see that the {colour} {item} you ordered was {status}.",
        "The {colour} {item} is marked as {status}.",
        "As of today your {colour} {item} is {status}.",
        "Right now the {colour} {item} is listed as {status}.",
    ),
    deliveries=(
        "It will reach {city} in {days} days.",
        "You can expect it in {city} within {days} days.",
        "Please allow {days} days until it arrives in {city}.",
        "The parcel needs {days} more days to get to {city}.",
        "We plan the delivery to {city} in about {days} days.",
        "In {days} days it should be with you in {city}.",
    ),
    notes=(
        "We will keep an eye on it for you.",
        "You do not need to do anything else.",
        "We have made a note of this in your order.",
        "You will get a mail as soon as something changes.",
    ),
    offers=(
        "Please let us know if you need anything else.",
        "Feel free to write to us again at any time.",
        "If you have more questions, just reply to this mail.",
        "We are glad to help with anything else.",
    ),
    closings=(
        "Kind regards, your support team.",
        "Best wishes, the service desk.",
        "With warm regards, the support team.",
        "Best regards, your service team.",
    ),
    delivery_first=0.15,
)

REFERENCE_STYLE = Style(
    salutations=("Good day {name},", "Dear {name},", "Greetings {name},", "Hello {name},"),
    thanks=(
        "we appreciate your note.",
        "many thanks for contacting us.",
        "it is good to hear from you.",
        "thank you for your message.",
    ),
    apologies=(
        "Please accept our apologies for the wait.",
        "We know how much this matters to you.",
        "We are happy to look into it.",
    ),
    statuses=(
        "For the {colour} {item} our records state that it is {status}.",
        "The current state of your {colour} {item}: it has been {status}.",
        "Concerning the {colour} {item}, it is {status} at present.",
        "Your {colour} {item} has been {status}.",
    ),
    deliveries=(
        "Delivery to {city} takes another {days} days.",
        "The arrival in {city} is expected after {days} days.",
        "It gets to you in {city} in {days} days at the latest.",
        "It will reach {city} in {days} days.",
    ),
    notes=(
        "We follow your order closely.",
        "No further step is needed from your side.",
        "You will get a mail as soon as something changes.",
    ),
    offers=(
        "Do not hesitate to ask us anything.",
        "We remain at your service for further questions.",
        "Please let us know if you need anything else.",
    ),
    closings=(
        "Yours sincerely, the customer care team.",
        "With kind regards, customer care.",
        "Kind regards, your support team.",
    ),
    delivery_first=0.6,
)

RUDE_SENTENCES = (
    "Stop whining about it.",
    "That is a silly question.",
    "You are really clueless.",
    "Do not bother us with such nonsense.",
    "Only a fool would ask that.",
    "You could have read that yourself, lazy as you are.",
    "Honestly, your nagging is annoying.",
)
RUDE_STATUSES = ("lost", "damaged")
"""Requests with these make the weak writer lose patience."""

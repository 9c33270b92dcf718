"""The sandbox's judge: a program that scores a reply by objective criteria. It never trains or filters.

It shares the slot values with the rest of the sandbox, and nothing with the reward model.
"""

import re
from collections.abc import Sequence

from figa_core.records import Message
from figa_core.sandbox.texts import is_finished, mentions, sentence_key, sentences, stated_facts
from figa_core.sandbox.vocabulary import Slot

SLOT_WEIGHT = 0.10  # each of the six
POLITE_WEIGHT = 0.12
GREETING_WEIGHT = 0.06
CLOSING_WEIGHT = 0.10
NO_REPETITION_WEIGHT = 0.08
FINISHED_WEIGHT = 0.04

_RUDE = re.compile(
    r"\b(whining|silly|stupid|clueless|nonsense|fool|idiot|lazy|nagging|annoying)\b", re.IGNORECASE
)
_GREETING = re.compile(
    r"\A\s*(dear|hello|hi|hey|greetings|good (day|morning|afternoon|evening))\b", re.IGNORECASE
)
_CLOSING = re.compile(r"\b(regards|wishes|sincerely|greetings|faithfully)\b", re.IGNORECASE)


def verify(messages: Sequence[Message], text: str) -> float:
    """Score a reply from 0 to 1: the weighted share of its right parts.

    A slot is right if the reply mentions the value that the user stated, and no other value of that slot.
    Slots that the user did not state count as right. Manners and form earn their weights in proportion to
    the slots that are mentioned, so an empty reply earns nothing.
    """
    facts = stated_facts("\n".join(m.content for m in messages if m.role == "user"))
    mentioned: dict[Slot, set[str]] = {slot: set() for slot in Slot}
    for slot, word in mentions(text):
        mentioned[slot].add(word.text)
    right = sum(slot not in facts or mentioned[slot] == {facts[slot]} for slot in Slot)
    addressed = sum(slot not in facts or bool(mentioned[slot]) for slot in Slot)
    return min(1.0, SLOT_WEIGHT * right + _form(text) * addressed / len(Slot))


def is_rude(sentence: str) -> bool:
    return _RUDE.search(sentence) is not None


def has_greeting(text: str) -> bool:
    return _GREETING.match(text) is not None


def is_closing(sentence: str) -> bool:
    """Whether a sentence signs the reply."""
    return _CLOSING.search(sentence) is not None


def _form(text: str) -> float:
    spans = sentences(text)
    if not spans:
        return 0.0
    keys = [sentence_key(span.text) for span in spans]
    return (
        POLITE_WEIGHT * (not is_rude(text))
        + GREETING_WEIGHT * has_greeting(text)
        + CLOSING_WEIGHT * is_closing(spans[-1].text)
        + NO_REPETITION_WEIGHT * (len(set(keys)) == len(keys))
        + FINISHED_WEIGHT * is_finished(text)
    )

"""Reads the world's texts: sentences with their positions, and the slot values that a text mentions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from figa_core.sandbox.vocabulary import SLOT_OF_WORD, Slot

_SENTENCE = re.compile(r"[^.!?]*[.!?]+|[^.!?]+\Z")
_WORD = re.compile(r"[^\W\d_]+|\d+")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text: its characters and their position."""

    text: str
    start: int
    end: int


def sentences(text: str) -> list[Span]:
    """The sentences without the whitespace around them; an unfinished tail is the last one."""
    spans = []
    for match in _SENTENCE.finditer(text):
        if stripped := match.group().strip():
            start = text.index(stripped, match.start())
            spans.append(Span(stripped, start, start + len(stripped)))
    return spans


def words(text: str) -> Iterator[Span]:
    """Runs of letters, and runs of digits, in order."""
    for match in _WORD.finditer(text):
        yield Span(match.group(), match.start(), match.end())


def mentions(text: str) -> Iterator[tuple[Slot, Span]]:
    """Every slot value in the text. Case counts: names and cities are capitalised, the rest is not."""
    return ((SLOT_OF_WORD[word.text], word) for word in words(text) if word.text in SLOT_OF_WORD)


def stated_facts(text: str) -> Mapping[Slot, str]:
    """The value that a prompt states for each slot; the first if it states several."""
    facts: dict[Slot, str] = {}
    for slot, word in mentions(text):
        facts.setdefault(slot, word.text)
    return facts


def sentence_key(sentence: str) -> str:
    """The words in lower case: equal keys mean that one sentence repeats the other."""
    return " ".join(word.text.lower() for word in words(sentence))


def is_finished(text: str) -> bool:
    return text.rstrip().endswith((".", "!", "?"))

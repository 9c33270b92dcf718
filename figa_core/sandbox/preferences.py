"""Synthetic preferences for the sandbox's reward model: graded replies, in pairs.

A reply's cost is its number of faults plus its number of random word edits, which imitate a small model's
errors. The verifier has no part in this.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from figa_core.records import Message
from figa_core.sandbox import vocabulary as v
from figa_core.sandbox.corpus import fact_sentences
from figa_core.sandbox.texts import mentions, sentence_key, sentences
from figa_core.sandbox.vocabulary import Slot
from figa_core.sandbox.world import (
    Facts,
    FaultKind,
    draw_faults,
    good_reply,
    plan_reply,
    sample_facts,
    with_faults,
    write_request,
)

REFERENCE_STYLE_SHARE = 0.4
"""Share of the replies in the references' style, so that the reward model knows both."""
SINGLE_FAULT_SHARE = 0.5
"""Share of the pairs in which the worse reply has exactly one fault more."""
NOISE_SHARE = 0.2
"""Share of the worse replies with random word edits on top."""
GOOD_SHARE = 0.5
"""Share of the pairs whose better reply has no fault at all."""
CUT_SHARE = 0.25
"""Share of those that are cut off instead."""
SHORT_WRONG_SHARE = 0.5
SHORT_REPEATED_SHARE = 0.25
SHORT_RUDE_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Graded:
    """A reply to a request, and its cost; `faulty_spans` are the (start, end) characters of its faults."""

    messages: tuple[Message, ...]
    text: str
    cost: float
    faulty_spans: tuple[tuple[int, int], ...]


Preference = tuple[Graded, Graded]
"""Two replies to one request: the better one costs less than the worse one."""


def preferences(rng: random.Random) -> Iterator[Preference]:
    """Endless pairs. The worse reply has the better one's faults and more, and is worded differently."""
    while True:
        facts = sample_facts(rng)
        shared = () if rng.random() < GOOD_SHARE else draw_faults(facts, rng)
        missing = [kind for kind in FaultKind if kind not in shared]
        if not missing:
            continue
        count = 1 if rng.random() < SINGLE_FAULT_SHARE else rng.randint(1, min(4, len(missing)))
        added = rng.sample(missing, count)
        messages = write_request(facts, rng)
        better = _write(messages, facts, shared, rng)
        worse = _write(messages, facts, (*shared, *added), rng)
        yield better, _with_noise(worse, facts, rng) if rng.random() < NOISE_SHARE else worse


def single_fault_pairs(rng: random.Random, kind: FaultKind) -> Iterator[Preference]:
    """Endless pairs of a good reply and one with a single fault, to measure each kind by."""
    while True:
        facts = sample_facts(rng)
        messages = write_request(facts, rng)
        yield _write(messages, facts, (), rng), _write(messages, facts, (kind,), rng)


def short_replies(rng: random.Random) -> Iterator[Graded]:
    """Endless replies that only state facts, half of them wrong, to learn reading from first."""
    while True:
        facts = sample_facts(rng)
        written = {
            slot: rng.choice(v.SLOT_VALUES[slot]) if rng.random() < SHORT_WRONG_SHARE else value
            for slot, value in facts.items()
        }
        parts = fact_sentences(good_reply(written, rng, _style(rng)))
        cost = sum(facts[slot] != written[slot] for slot in Slot)
        if rng.random() < SHORT_REPEATED_SHARE:
            index = rng.randrange(1, len(parts))
            parts.insert(index, parts[index])
            cost += 1
        if rng.random() < SHORT_RUDE_SHARE:
            parts.insert(rng.randint(1, len(parts)), rng.choice(v.RUDE_SENTENCES))
            cost += 1
        yield _grade(write_request(facts, rng), " ".join(parts), facts, cost)


def _style(rng: random.Random) -> v.Style:
    return v.REFERENCE_STYLE if rng.random() < REFERENCE_STYLE_SHARE else v.WRITER_STYLE


def _write(
    messages: tuple[Message, ...], facts: Facts, faults: Sequence[FaultKind], rng: random.Random
) -> Graded:
    reply = with_faults(facts, plan_reply(_style(rng), rng), faults, rng)
    return _grade(messages, reply.text, facts, len(faults))


def _grade(messages: tuple[Message, ...], text: str, facts: Facts, cost: float) -> Graded:
    spans = [(word.start, word.end) for slot, word in mentions(text) if word.text != facts[slot]]
    seen: set[str] = set()
    for sentence in sentences(text):
        key = sentence_key(sentence.text)
        if key in seen or sentence.text in v.RUDE_SENTENCES:
            spans.append((sentence.start, sentence.end))
        seen.add(key)
    return Graded(messages, text, cost, tuple(spans))


def _with_noise(graded: Graded, facts: Facts, rng: random.Random) -> Graded:
    """Words lost, doubled, misplaced or halved, or the end cut off."""
    words = graded.text.split(" ")
    edits = rng.randint(1, 3)
    if rng.random() < CUT_SHARE:
        del words[rng.randrange(len(words) // 3, len(words)) :]
    else:
        for _ in range(edits):
            index, draw = rng.randrange(len(words)), rng.random()
            word = words[index]
            if draw < 0.35:
                del words[index]
            elif draw < 0.8:
                words.insert(index, word if draw < 0.6 else rng.choice(words))
            else:
                words[index] = word[: max(1, len(word) // 2)]
    return _grade(graded.messages, " ".join(words), facts, graded.cost + edits)

"""The training examples of the sandbox's base model."""

import random

from figa_core.records import Message
from figa_core.sandbox.texts import mentions
from figa_core.sandbox.world import Reply, faulty_reply, good_reply, sample_facts, write_request

GOOD_SHARE = 0.5
SHORT_SHARE = 0.35
"""Shares of a base model's training: good replies come first, and the first of these are shortened."""


def curriculum_example(rng: random.Random, progress: float) -> tuple[tuple[Message, ...], str]:
    """A request and a reply to train on when `progress` (0 to 1) of the training is done."""
    facts = sample_facts(rng)
    messages = write_request(facts, rng)
    reply = good_reply(facts, rng) if progress < GOOD_SHARE else faulty_reply(facts, rng)
    return messages, " ".join(fact_sentences(reply)) if progress < SHORT_SHARE else reply.text


def fact_sentences(reply: Reply) -> list[str]:
    """Only the parts that state facts: the salutation and the body's sentences."""
    salutation = reply.sentences[0].partition(",")[0]
    return [salutation, *(sentence for sentence in reply.sentences[1:] if any(mentions(sentence)))]

"""Support replies: the sandbox's world as a domain. The type of a prompt is the status of its order."""

import random
from collections.abc import Iterator, Sequence

from figa_core.domains.base import Domain, Row, task_numbers
from figa_core.records import Message
from figa_core.sandbox import correction, verifier
from figa_core.sandbox.vocabulary import REFERENCE_STYLE, SLOT_VALUES, Slot
from figa_core.sandbox.world import good_reply, sample_facts, write_request

VERSION = 1
KINDS = tuple(SLOT_VALUES[Slot.STATUS])


def rows(count: int, seed: int) -> Iterator[Row]:
    """Rows with different requests, drawn by `seed`.

    Raises:
        ValueError: there are not so many.
    """
    seen: set[int] = set()
    for number in task_numbers(2 * count, seed):
        if len(seen) == count:
            return
        rng = random.Random(f"support/{VERSION}/{number}")
        facts = sample_facts(rng)
        messages = write_request(facts, rng)
        if (request := hash(messages)) in seen:
            continue
        seen.add(request)
        yield Row(
            id=f"support-{number}",
            prompt=[message.as_dict() for message in messages],
            reference=good_reply(facts, rng, REFERENCE_STYLE).text,
            type=facts[Slot.STATUS],
        )


def verify(messages: Sequence[Message], text: str) -> float:
    """The sandbox's verifier (`figa_core.sandbox.verifier`)."""
    return verifier.verify(messages, text)


def correct(messages: Sequence[Message], draft: str, reference: str | None = None) -> str | None:
    """The sandbox's correction by rule; it always finds one."""
    conversation = "\n".join(f"{message.role}: {message.content}" for message in messages)
    return correction.correct(conversation, draft, reference)


DOMAIN = Domain("support", VERSION, KINDS, rows, verify, correct)

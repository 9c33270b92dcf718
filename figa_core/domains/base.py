"""What a domain is, and the domains by name.

A domain is a world of tasks to compare methods on: prompts, references in a style of their own, a verifier,
and a scripted teacher that edits drafts in place. A world is fixed before any method is tried on it: whoever
changes its rows gives it another `version`, and the golden hashes of its tests change with that.
"""

import importlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from rapidfuzz.distance import Indel

from figa_core.errors import ConfigError
from figa_core.records import Message, RevisionStatus
from figa_core.revision.validation import judge_answer

Verify = Callable[[Sequence[Message], str], float]
Correct = Callable[[Sequence[Message], str, str | None], str | None]


class Row(TypedDict):
    """A row of a prompts file; `prompt` is a list of chat messages (role, content)."""

    id: str
    prompt: list[dict[str, str]]
    reference: str
    type: str


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain. Its functions are pure, except that the verifier of code runs it in a process of its own.

    Attributes:
        rows: (count, seed) → that many rows with different prompts; equal arguments give equal rows.
        verify: (messages, text) → from 0 to 1. The task is found in the messages alone.
        correct: (messages, draft, reference) → the draft with as few edits as it needs, the very draft if
            nothing is wrong, or None if it cannot be edited into a right answer.
        types: what a row's `type` may be.
        answers: the right answers to messages, in the styles of models and references; a reward model learns
            from them. None: the domain has no reward model of its own.
    """

    name: str
    version: int
    types: tuple[str, ...]
    rows: Callable[[int, int], Iterator[Row]]
    verify: Verify
    correct: Correct
    answers: Callable[[Sequence[Message]], Sequence[str]] | None = None


_NUMBERS = range(100_000, 1_000_000)

NAMES = ("support", "structured", "arithmetic", "code")


def load_domain(name: str) -> Domain:
    """The domain of this name.

    Raises:
        ConfigError: there is none, or a package that it needs is missing.
    """
    if name not in NAMES:
        raise ConfigError(f"there is no domain {name!r}. Choose one of {', '.join(NAMES)}.")
    domain: Any = importlib.import_module(f"figa_core.domains.{name}").DOMAIN
    assert isinstance(domain, Domain), f"figa_core.domains.{name}.DOMAIN is no Domain"
    return domain


def least_edited(draft: str, answers: Iterable[str], reference: str | None) -> str | None:
    """Of the answers that the revise stage takes for edits of the draft, the nearest; None if there is none.

    The stage's default limits apply.
    """
    edits = [answer for answer in answers if _is_edit(draft, answer, reference)]
    return min(edits, key=lambda answer: Indel.distance(draft, answer), default=None)


def _is_edit(draft: str, answer: str, reference: str | None) -> bool:
    judgement = judge_answer(draft, answer, "stop", None, reference=reference)
    return judgement.status in (RevisionStatus.SUCCEEDED, RevisionStatus.UNCHANGED)


def user_texts(messages: Sequence[Message]) -> str:
    """What the user said, in one text."""
    return "\n".join(message.content for message in messages if message.role == "user")


def task_numbers(count: int, seed: int) -> Iterator[int]:
    """`count` different numbers of six digits; more of one seed begin with the same ones.

    Raises:
        ValueError: there are not so many.
    """
    if count > len(_NUMBERS):
        raise ValueError(f"there are {len(_NUMBERS)} different tasks")
    rng = random.Random(f"tasks/{seed}")
    step, start = 1, rng.randrange(len(_NUMBERS))
    while math.gcd(step, len(_NUMBERS)) != 1 or step == 1:
        step = rng.randrange(len(_NUMBERS))
    return (_NUMBERS[(start + index * step) % len(_NUMBERS)] for index in range(count))

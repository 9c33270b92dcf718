"""Refusals of questions ("rows") while it is unclear whether the row is at fault or every row is refused.

A refusal is held here before it settles its row. If a later call is answered, the endpoint works, and the
row's refusal settles it. If row after row is refused in the same words, with no answer in between, the rows
are not at fault: the run ends, and all of them stay open.

*Later* means sent later. Of calls under way together, refusals often come back before the first answer; and
an answer to a call sent before an account ran empty proves nothing. Pure except for its list.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from figa_core.llm.calls import RowSettled
from figa_core.llm.question import NoAnswer, Question

_CHANCE = 1e-9

Owner = Callable[[Any], None]
"""Gets the final values of the questions that were asked together."""


class Blame(StrEnum):
    """The cause of a refusal, by its words."""

    ROW = "row"  # a content filter, a context that is too long
    UNKNOWN = "unknown"  # words that are not recognised
    SERVER = "server"  # errors until the row's attempts were used up


@dataclass(frozen=True, slots=True)
class Suspicion:
    """How many rows in a row may be refused alike before the run ends."""

    row: float = 13  # by refusals that name the row as the cause (`beyond_chance`)
    unknown: float = 5  # in words that are not recognised
    server: float = 10  # by the same error in all attempts
    any_words: float = 10  # in words that are not recognised, different ones each time

    def limit(self, blame: Blame) -> float:
        """The limit for one cause."""
        return {Blame.ROW: self.row, Blame.UNKNOWN: self.unknown, Blame.SERVER: self.server}[blame]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One row's refusal."""

    question: Question[Any]
    why: NoAnswer  # the question's end, if it is at fault
    blame: Blame
    alike: str  # equal for refusals of the same cause
    message: str
    sent_at: float
    owner: Owner
    held: bool  # until the question's end is stored

    def settled(self, at: float, *, retryable: bool = False) -> RowSettled:
        """The record of its end, at `at` seconds since the epoch; `retryable`: a later run may ask again."""
        why = replace(self.why, retryable=retryable or self.why.retryable)
        value = self.question.reader.without_answer(why)
        return RowSettled(at, self.question.purpose, self.question.subject_id, value)


class Doubts:
    """All held refusals of a run."""

    def __init__(self, suspicion: Suspicion) -> None:
        self._suspicion = suspicion
        self._held: list[Doubt] = []

    def hold(self, doubt: Doubt) -> None:
        """Add one."""
        self._held.append(doubt)

    def refute(self, sent_at: float) -> list[Doubt]:
        """A call sent at `sent_at` was answered: return the refusals of earlier calls, to be settled."""
        freed = [doubt for doubt in self._held if doubt.sent_at < sent_at]
        self._held = [doubt for doubt in self._held if doubt.sent_at >= sent_at]
        return [doubt for doubt in freed if doubt.held]

    def release(self, owner: Owner) -> list[Doubt]:
        """Return the held refusals of an owner that ends; they still count, but are held no longer."""
        released = [doubt for doubt in self._held if doubt.owner is owner and doubt.held]
        self._held = [replace(d, held=False) if d.owner is owner else d for d in self._held]
        return released

    def systematic(self) -> list[Doubt]:
        """The refusals that are too many to be the rows' fault, oldest first; empty if there are none."""
        for (blame, alike), rows in Counter((d.blame, d.alike) for d in self._held).items():
            if rows >= self._suspicion.limit(blame):
                return [d for d in self._held if (d.blame, d.alike) == (blame, alike)]
        unknown = [doubt for doubt in self._held if doubt.blame is Blame.UNKNOWN]
        return unknown if len(unknown) >= self._suspicion.any_words else []


def beyond_chance(share: float) -> float:
    """How many refusals in a row cannot be chance, if each row is refused with probability `share`."""
    if share >= 1:
        return math.inf
    return max(5, math.ceil(math.log(_CHANCE) / math.log(share))) if share > 0 else 5

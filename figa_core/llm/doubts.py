"""Questions ("rows") that were refused, while it is open whether the row is at fault or all are refused.

A refusal is held here before it settles its row. A later call that is answered shows that the endpoint works,
and the row is settled as its refusal says. Refusals in the same words for row after row of different content,
and no answer in between, are no row's fault: the run ends, and all of them stay open.

*Later* means sent later: among calls under way together, refusals are often back before the first answer,
and an answer to a call sent before an account ran empty shows nothing. Pure but for its own list.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from figa_core.llm.calls import RowSettled
from figa_core.llm.question import NoAnswer, Question

_CHANCE = 1e-9

Owner = Callable[[Any], None]
"""Gets the final values of the questions that were asked together."""


class Blame(StrEnum):
    """What a refusal's own words put it down to."""

    ROW = "row"  # a content filter, a context that is too long
    NOBODY = "nobody"  # words that nobody recognises
    SERVER = "server"  # errors until the row's attempts were used up


@dataclass(frozen=True, slots=True)
class Suspicion:
    """How many rows in a row may end alike before their refusal is everybody's.

    Attributes:
        row: refusals that name the row as the cause (`beyond_chance`).
        nobody: refusals in words that are not recognised.
        server: rows whose attempts all ended in the same error.
        any_words: refusals that are not recognised, each in its own words.
    """

    row: float = 13
    nobody: float = 5
    server: float = 10
    any_words: float = 10

    def limit(self, blame: Blame) -> float:
        """That of one kind."""
        return {Blame.ROW: self.row, Blame.NOBODY: self.nobody, Blame.SERVER: self.server}[blame]


class Held(NamedTuple):
    """A question whose end is in doubt: what it comes to if the question is at fault."""

    question: Question[Any]
    why: NoAnswer

    def settled(self, at: float) -> RowSettled:
        """The record of its end; `at` in seconds since the epoch."""
        value = self.question.reader.without_answer(self.why)
        return RowSettled(at, self.question.purpose, self.question.subject_id, value)


@dataclass(frozen=True, slots=True)
class Doubt:
    """One row's refusal. `held` is the row's end if the row is at fault, None once that is stored.

    `owner` gets it, `alike` is what it has in common with others of the same cause.
    """

    blame: Blame
    alike: str
    message: str
    sent_at: float
    owner: Owner
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Systematic:
    """Refusals that are no row's fault: how many, since when, and the last one's words."""

    rows: int
    since: float
    message: str


class Doubts:
    """All that is held, over all batches of a run."""

    def __init__(self, suspicion: Suspicion) -> None:
        self._suspicion = suspicion
        self._held: list[Doubt] = []

    def hold(self, doubt: Doubt) -> None:
        """One more."""
        self._held.append(doubt)

    def refute(self, sent_at: float) -> list[Doubt]:
        """A call sent at `sent_at` was answered: the rows refused before it, to be settled."""
        freed = [doubt for doubt in self._held if doubt.sent_at < sent_at]
        self._held = [doubt for doubt in self._held if doubt.sent_at >= sent_at]
        return [doubt for doubt in freed if doubt.held is not None]

    def release(self, owner: Owner) -> list[Doubt]:
        """What is held of an owner that ends; it still counts, and is held no longer."""
        own = [doubt for doubt in self._held if doubt.owner is owner and doubt.held is not None]
        self._held = [replace(d, held=None) if d.owner is owner else d for d in self._held]
        return own

    def systematic(self) -> Systematic | None:
        """The refusals that are too many to be chance, if there are such."""
        for (blame, alike), rows in Counter((d.blame, d.alike) for d in self._held).items():
            if rows >= self._suspicion.limit(blame):
                return _systematic([d for d in self._held if (d.blame, d.alike) == (blame, alike)])
        unknown = [doubt for doubt in self._held if doubt.blame is Blame.NOBODY]
        return _systematic(unknown) if len(unknown) >= self._suspicion.any_words else None


def beyond_chance(share: float) -> float:
    """How many rows in a row no chance explains where each is refused with the probability `share`."""
    if share >= 1:
        return math.inf
    return max(5, math.ceil(math.log(_CHANCE) / math.log(share))) if share > 0 else 5


def _systematic(doubts: list[Doubt]) -> Systematic:
    return Systematic(len(doubts), min(doubt.sent_at for doubt in doubts), doubts[-1].message)

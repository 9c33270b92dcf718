"""Answers with faults, drawn from right ones: what a domain's reward model learns from. Pure.

A fault replaces a word or number by another one that would fit there, of another task's answer or of the
prompt, or removes or doubles a piece, or cuts off the end. The verifier says what the result is worth.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from figa_core.domains.base import Domain
from figa_core.records import Message

_PIECE = re.compile(r"\w+|\s+|[^\w\s]")
_FAULTS_MAX = 4
_REPLACED_SHARE = 0.8
_CUT_SHARE = 0.08
_SHORTEST = 4  # pieces that a cut answer keeps
_WRONG_PER_TASK = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """A word, a mark or white space of an answer, and what to put in its place."""

    text: str
    right: str


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """An answer in pieces; `cost` is 1 − the verifier's value."""

    messages: Sequence[Message]
    pieces: Sequence[Piece]
    cost: float

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


def graded_answers(domain: Domain, seed: int) -> Iterator[Sequence[GradedAnswer]]:
    """Endlessly, for one task at a time, a right answer and wrong ones in the same or another style."""
    rng = random.Random(f"wrong answers/{domain.name}/{seed}")
    assert domain.answers is not None, f"the domain {domain.name!r} has no answers to learn from"
    others: Sequence[str] = ()
    for messages in _conversations(domain, rng):
        right = [_pieces(text) for text in domain.answers(messages)]
        words = [*_words(messages[-1].content), *others]
        wrong = [_with_faults(rng.choice(right), words, rng) for _ in range(_WRONG_PER_TASK)]
        yield [_graded(domain, messages, pieces) for pieces in (rng.choice(right), *wrong)]
        others = _words("".join(piece.text for piece in right[0]))


def _conversations(domain: Domain, rng: random.Random) -> Iterator[Sequence[Message]]:
    for _ in count():
        for row in domain.rows(1000, rng.randrange(2**32)):
            yield [Message(**message) for message in row["prompt"]]


def _graded(domain: Domain, messages: Sequence[Message], pieces: Sequence[Piece]) -> GradedAnswer:
    text = "".join(piece.text for piece in pieces)
    return GradedAnswer(messages, pieces, 1.0 - domain.verify(messages, text))


def _with_faults(right: Sequence[Piece], words: Sequence[str], rng: random.Random) -> Sequence[Piece]:
    pieces = list(right)
    for _ in range(rng.randint(1, _FAULTS_MAX)):
        draw = rng.random()
        if draw < _REPLACED_SHARE:
            index = rng.choice([i for i, piece in enumerate(pieces) if piece.text[0].isalnum()])
            like = [word for word in words if word.isdigit() == pieces[index].text.isdigit()]
            pieces[index] = Piece(rng.choice(like or words), pieces[index].right)
            continue
        index = rng.randrange(_SHORTEST, len(pieces))
        if draw < 1 - _CUT_SHARE:
            pieces[index : index + 1] = [] if rng.random() < 0.5 else [pieces[index]] * 2
        else:
            del pieces[index + 1 :]
    return pieces


def _pieces(text: str) -> Sequence[Piece]:
    return [Piece(found, found) for found in _PIECE.findall(text)]


def _words(text: str) -> Sequence[str]:
    return [found for found in _PIECE.findall(text) if found[0].isalnum()]

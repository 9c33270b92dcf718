"""What people judge: the changes from Ŷ to Ỹ that have a token with a mark of the weighting scheme. Pure.

A change is a stretch of neighbouring tokens that differ by the Levenshtein alignment, or that the scheme
marks. It is the same stretch for every person, and it has the same key as long as the two texts, the
tokenizer and the scheme are the same.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import Levenshtein

from figa_core.records import MARKED, EditClass, WeighedPair
from figa_core.report.tokens import Decode, ends_within_a_character, texts_between


class Verdict(StrEnum):
    """What a person says of a change. It matters if the answer is better for it."""

    MATTERS = "matters"
    DOES_NOT = "does not"
    WORSE = "makes it worse"

    @property
    def reversed(self) -> "Verdict":
        """The verdict on the same change the other way round."""
        return {Verdict.MATTERS: Verdict.WORSE, Verdict.WORSE: Verdict.MATTERS}.get(self, self)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of both texts: the same in both, or a change, which has a key.

    A stretch without a key may differ too: then the scheme marks none of its tokens.
    """

    before: str
    after: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class _Block:
    """Tokens [i1, i2) of Ŷ and [j1, j2) of Ỹ."""

    touched: bool
    i1: int
    i2: int
    j1: int
    j2: int


def stretches(pair: WeighedPair, decode: Decode) -> tuple[Stretch, ...]:
    """The two texts of a pair in stretches, without the end of turn; joined they are the whole texts."""
    before_ids, after_ids = _without_end_of_turn(pair)
    blocks = _at_characters(_merged(_blocks(pair, before_ids, after_ids)), before_ids, after_ids, decode)
    before = texts_between(before_ids, [block.i2 for block in blocks], decode)
    after = texts_between(after_ids, [block.j2 for block in blocks], decode)
    return tuple(
        Stretch(old, new, _key(block) if _is_marked(pair, block) else None)
        for block, old, new in zip(blocks, before, after, strict=True)
    )


def keys_of(found: Sequence[Stretch]) -> list[str]:
    """The keys of the changes, in order."""
    return [stretch.key for stretch in found if stretch.key is not None]


def is_shown_reversed(pair_id: str, annotator: str) -> bool:
    """Whether Ỹ comes first for this person, where the sides are hidden: by a hash, so always the same."""
    return hashlib.sha256(f"{pair_id}\n{annotator}".encode()).digest()[0] % 2 == 1


def _without_end_of_turn(pair: WeighedPair) -> tuple[tuple[int, ...], tuple[int, ...]]:
    length = sum(number == EditClass.END_OF_TURN for number in pair.revision_classes)
    kept = len(pair.revision_ids) - length
    before = pair.response_ids
    # The same ids may also be words that are cut off there and marked.
    ends = before[-length:] == pair.revision_ids[kept:] and MARKED.isdisjoint(pair.response_classes[-length:])
    if length and ends:
        before = before[:-length]
    return before, pair.revision_ids[:kept]


def _blocks(pair: WeighedPair, before: tuple[int, ...], after: tuple[int, ...]) -> Iterator[_Block]:
    for operation, i1, i2, j1, j2 in Levenshtein.opcodes(before, after):
        if operation != "equal":
            yield _Block(True, i1, i2, j1, j2)
            continue
        for i, j in zip(range(i1, i2), range(j1, j2), strict=True):
            marked = not MARKED.isdisjoint((pair.response_classes[i], pair.revision_classes[j]))
            yield _Block(marked, i, i + 1, j, j + 1)


def _merged(blocks: Iterator[_Block]) -> list[_Block]:
    merged: list[_Block] = []
    for block in blocks:
        if merged and merged[-1].touched is block.touched:
            last = merged.pop()
            block = _Block(block.touched, last.i1, block.i2, last.j1, block.j2)
        merged.append(block)
    return merged


def _at_characters(
    blocks: list[_Block], before: tuple[int, ...], after: tuple[int, ...], decode: Decode
) -> list[_Block]:
    """A change that ends within a character takes the tokens that complete it from what follows."""
    moved: list[_Block] = []
    for block in blocks:
        while moved and moved[-1].touched and not block.touched and block.i1 < block.i2:
            last = moved[-1]
            if not (
                ends_within_a_character(before, last.i2, decode)
                or ends_within_a_character(after, last.j2, decode)
            ):
                break
            moved[-1] = _Block(True, last.i1, last.i2 + 1, last.j1, last.j2 + 1)
            block = _Block(False, block.i1 + 1, block.i2, block.j1 + 1, block.j2)
        if block.i1 < block.i2 or block.j1 < block.j2:
            moved.append(block)
    return _merged(iter(moved))


def _is_marked(pair: WeighedPair, block: _Block) -> bool:
    classes = (*pair.response_classes[block.i1 : block.i2], *pair.revision_classes[block.j1 : block.j2])
    return block.touched and not MARKED.isdisjoint(classes)


def _key(block: _Block) -> str:
    return f"{block.i1}-{block.i2}:{block.j1}-{block.j2}"

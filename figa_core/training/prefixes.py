"""Beginnings that several sequences share are run once: their sequences become a tree of pieces in one row.

    the prompt ─┬─ what the response adds
                └─ what the revision adds

A piece attends to its ancestors and to itself (`attention.py`), and its positions continue from its parent's.
So every token has the same hidden state as in its sequence alone. The tokens after a branching point are
predicted by the last token before it, so by the same place of the row.

Sequences part at multiples of a number of tokens, the grain, because a piece of a few tokens costs more than
it saves.

Shapes: T tokens of a row or sequence.
"""

import heapq
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from figa_core.training.sequence import TrainingSequence, Unit

GRAIN = 16
"""Tokens."""
ROOT = -1
"""The parent of a piece without one."""

_IntArray = npt.NDArray[np.int64]
_Ids = npt.NDArray[np.integer[Any]]


class Tree(NamedTuple):
    """A row of pieces, each after its parent.

    `places` has, for each sequence in the order in which they were given, where its tokens are in the row.
    """

    ids_T: _IntArray
    position_ids_T: _IntArray
    lengths: tuple[int, ...]
    parents: tuple[int, ...]
    places: tuple[_IntArray, ...]


def tree_of(sequences: Sequence[_Ids], *, grain: int) -> Tree:
    """The tree of these sequences; those that begin with nothing in common are trees of their own."""
    order = sorted(range(len(sequences)), key=lambda index: _key(sequences[index]))
    shared = _shared_with_next([sequences[index] for index in order], grain)
    # A sequence that begins the next one needs no piece of its own.
    leaves = [n for n, index in enumerate(order) if n == len(order) - 1 or shared[n] < len(sequences[index])]
    ids = [sequences[order[n]] for n in leaves]
    pieces = _pieces([len(each) for each in ids], [shared[n] for n in leaves[:-1]])
    lengths, parents = tuple(p.end - p.start for p in pieces), tuple(p.parent for p in pieces)
    of_leaf = dict(zip(leaves, _places_of_leaves(pieces, lengths, parents), strict=True))
    places: dict[int, _IntArray] = {}
    for n in reversed(range(len(order))):
        of_next = of_leaf[n] if n in of_leaf else places[order[n + 1]]
        places[order[n]] = of_next[: len(sequences[order[n]])]
    return Tree(
        ids_T=np.concatenate([ids[p.leaf][p.start : p.end] for p in pieces]).astype(np.int64),
        position_ids_T=np.concatenate([np.arange(p.start, p.end) for p in pieces]),
        lengths=lengths,
        parents=parents,
        places=tuple(places[index] for index in range(len(sequences))),
    )


def _places_of_leaves(
    pieces: Sequence["_Piece"], lengths: tuple[int, ...], parents: tuple[int, ...]
) -> list[_IntArray]:
    """The places in the row of the tokens of each leaf."""
    starts = np.cumsum([0, *lengths])
    places = [np.arange(start, start + length) for start, length in zip(starts, lengths, strict=False)]
    last = {piece.leaf: place for place, piece in enumerate(pieces)}  # the last piece of a leaf is its own
    paths = paths_of(parents)
    return [np.concatenate([places[p] for p in paths[last[leaf]]]) for leaf in sorted(last)]


def tree_tokens(sequences: Sequence[_Ids], *, grain: int) -> int:
    """The tokens of their tree, which go through the model."""
    ordered = sorted(sequences, key=_key)
    return sum(map(len, ordered)) - sum(_shared_with_next(ordered, grain))


def group_shared(units: Sequence[Unit], tokens_per_batch: int, *, grain: int) -> list[list[TrainingSequence]]:
    """Groups whose trees are within the budget; units that share a beginning are together if they fit.

    All units are one part at first. The largest part is taken first: if its tree is larger than the budget,
    it is divided where its units share least. Otherwise it goes where it adds the fewest tokens, or into a
    new group. A unit longer than the budget gets its own group.
    """
    ordered = sorted(units, key=lambda unit: _key(unit[0].inputs_T))
    shared = _shared_with_next([unit[0].inputs_T for unit in ordered], grain)
    if any(len(unit) > 1 for unit in ordered):
        # A sequence that begins another one may begin one of its own unit too, and counts only once.
        shared = [tokens // grain * grain for tokens in shared]
    forest = _Forest([tree_tokens([s.inputs_T for s in unit], grain=grain) for unit in ordered], shared)
    groups: list[list[int]] = []
    room: list[int] = []
    parts = [(-forest.tokens(range(len(ordered))), 0, len(ordered))] if ordered else []
    while parts:
        cost, first, end = heapq.heappop(parts)
        if -cost > tokens_per_batch and end - first > 1:
            for part in forest.divided(range(first, end)):
                heapq.heappush(parts, (-forest.tokens(part), part.start, part.stop))
            continue
        part = range(first, end)
        added = [forest.tokens(sorted([*group, *part])) - forest.tokens(group) for group in groups]
        fitting = [place for place, tokens in enumerate(added) if tokens <= room[place]]
        if fitting:
            place = min(fitting, key=added.__getitem__)
            groups[place] = sorted([*groups[place], *part])
            room[place] -= added[place]
        else:
            groups.append([*part])
            room.append(tokens_per_batch + cost)
    return [[sequence for index in group for sequence in ordered[index]] for group in groups]


class _Forest:
    """Units in lexicographic order: the tokens of each alone, and of those that it shares with the next."""

    def __init__(self, alone: Sequence[int], shared: Sequence[int]) -> None:
        self._alone, self._shared = alone, shared

    def tokens(self, units: Sequence[int]) -> int:
        """Of the tree of these units, which are sorted; units of several sequences may share even more."""
        # Two sequences have in common what all between them have.
        shared = (min(self._shared[one:other]) for one, other in pairwise(units))
        return sum(self._alone[unit] for unit in units) - sum(shared)

    def divided(self, units: range) -> list[range]:
        """The parts between the neighbours that share least."""
        gaps = self._shared[units.start : units.stop - 1]
        cuts = [units.start + 1 + n for n, shared in enumerate(gaps) if shared == min(gaps)]
        return [range(*ends) for ends in pairwise([units.start, *cuts, units.stop])]


class _Piece(NamedTuple):
    """Positions `start` to `end` of a leaf, and of all other leaves below."""

    leaf: int
    start: int
    end: int
    parent: int


def _pieces(lengths: Sequence[int], shared: Sequence[int]) -> list[_Piece]:
    """The pieces of leaves in lexicographic order, whose neighbours share so many tokens; parents first."""
    found: list[_Piece] = []
    open_parts = [(0, len(lengths), 0, ROOT)]  # leaves from … to …, their pieces from a position on, parent
    while open_parts:
        first, end, start, parent = open_parts.pop()
        gaps = shared[first : end - 1]
        common = min(gaps, default=lengths[first])
        if common > start:
            found.append(_Piece(first, start, common, parent))
            parent = len(found) - 1
        if gaps:
            cuts = [first + 1 + n for n, gap in enumerate(gaps) if gap == common]
            ends = reversed([*pairwise([first, *cuts, end])])
            open_parts += [(one, other, common, parent) for one, other in ends]
    return found


@lru_cache(maxsize=8)
def paths_of(parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """For each piece its ancestors from the root on, and itself. Cached, because every layer needs them."""
    paths: list[tuple[int, ...]] = []
    for piece, parent in enumerate(parents):
        paths.append((piece,) if parent == ROOT else (*paths[parent], piece))
    return tuple(paths)


def _key(ids: _Ids) -> bytes:
    """Sorted by it, sequences with the same beginning are neighbours, and a beginning comes first."""
    return np.ascontiguousarray(ids, dtype=np.int32).tobytes()


def _shared_with_next(ordered: Sequence[_Ids], grain: int) -> list[int]:
    """How many tokens each but the last runs together with the next one."""
    return [_shared(one, other, grain) for one, other in pairwise(ordered)]


def _shared(one: _Ids, other: _Ids, grain: int) -> int:
    """All of `one` if `other` begins with it."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    common = int(different[0]) if different.size else length
    return common if common == len(one) else common // grain * grain

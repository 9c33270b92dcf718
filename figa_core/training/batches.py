"""The pairs of a step and each rank's micro-batches: deterministic for a seed, equal work for every rank.

Every rank plans the step of all ranks from the same shards. So the divisor N and the number of micro-batches
are known everywhere before the forward pass, without communication.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
import numpy.typing as npt

from figa_core.training.data import PairData
from figa_core.training.micro_batch import DUMMY, MicroBatch, packed_batch, padded_batch, shared_batch
from figa_core.training.objectives.base import Objective
from figa_core.training.prefixes import group_shared, tree_tokens
from figa_core.training.sequence import TrainingSequence, Unit

_IntArray = npt.NDArray[np.int64]
# The fixed cost of a micro-batch (every gradient is copied and added once), in tokens of padding.
_GROUP_TOKENS = 400
_DRAWING = 1  # sets the random numbers of `drawn_pairs` apart from those of the epochs


@dataclass(frozen=True, eq=False, slots=True)
class StepPlan:
    """One rank's share of an optimizer step, with figures of the whole step.

    Attributes:
        pairs: indices of the pairs of all ranks.
        counted: the divisor of the step's sum: N tokens (those whose class carries α or β), or pairs.
        weighted: tokens of the whole step with a non-zero weight; 0 means there is nothing to learn.
        tokens: tokens of the whole step that go through the model: without padding, shared ones once.
        micro_batches: those of this rank; every rank has the same number, some of them dummies.
    """

    pairs: tuple[int, ...]
    counted: int
    weighted: int
    tokens: int
    micro_batches: tuple[MicroBatch, ...]


def steps_per_epoch(pairs: int, pairs_per_step: int) -> int:
    """Steps that use every pair once; the last one may be smaller."""
    return ceil(pairs / pairs_per_step)


def step_pairs(step: int, *, pairs: int, pairs_per_step: int, seed: int) -> tuple[int, ...]:
    """Indices of the pairs of a step (counted from 1): every epoch takes the data in a new seeded order.

    No step crosses the end of an epoch, so none has a pair twice.
    """
    epoch, place = divmod(step - 1, steps_per_epoch(pairs, pairs_per_step))
    first = place * pairs_per_step
    return tuple(int(pair) for pair in _epoch_order(pairs, seed, epoch)[first : first + pairs_per_step])


def drawn_pairs(limit: int, *, pairs: int, seed: int) -> _IntArray:
    """Indices of `limit` of the `pairs`, sorted. With the same seed, more pairs include the fewer ones."""
    order = np.random.Generator(np.random.PCG64([seed, 0, _DRAWING])).permutation(pairs)
    return np.sort(order[:limit])


@lru_cache(maxsize=2)
def _epoch_order(pairs: int, seed: int, epoch: int) -> _IntArray:
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(pairs)


def plan_step(
    data: PairData,
    pairs: Sequence[int],
    objective: Objective,
    *,
    rank: int,
    ranks: int,
    tokens_per_batch: int,
    packing: bool,
    tail_cut: bool,
    grain: int | None = None,
) -> StepPlan:
    """Deal the pairs to the ranks by length, and group this rank's sequences into micro-batches.

    `grain` as in `Layout`.

    Raises:
        ValueError: there are no pairs.
    """
    if not pairs:
        raise ValueError("a step needs at least one pair")
    by_pair = [data.sequences(pair, objective, tail_cut=tail_cut) for pair in pairs]
    units = [_units(sequences, objective) for sequences in by_pair]
    layout = Layout(tokens_per_batch, packing=packing, grain=grain)
    groups = groups_of_ranks(units, ranks, layout)
    return StepPlan(
        pairs=tuple(pairs),
        counted=sum(data.counted(pair, objective) for pair in pairs),
        weighted=sum(len(s.weights_K) for sequences in by_pair for s in sequences),
        tokens=sum(layout.tokens(group) for of_rank in groups for group in of_rank),
        micro_batches=_batches_of_rank(groups, rank, layout),
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """How sequences become micro-batches: padded rows, or packed into one row each.

    With a `grain` packed sequences run a beginning that they share once, in multiples of so many tokens.
    """

    tokens_per_batch: int
    packing: bool
    grain: int | None = None

    def tokens(self, sequences: Sequence[TrainingSequence]) -> int:
        """What goes through the model in a group of these, without padding."""
        inputs = [sequence.inputs_T for sequence in sequences]
        if not self.packing or self.grain is None:
            return sum(map(len, inputs))
        return tree_tokens(inputs, grain=self.grain)

    def groups(self, units: Sequence[Unit]) -> list[list[TrainingSequence]]:
        """Groups within the budget."""
        if not self.packing:
            return group_rows(units, self.tokens_per_batch)
        if self.grain is None:
            return group_packed(units, self.tokens_per_batch)
        return group_shared(units, self.tokens_per_batch, grain=self.grain)

    def batch(self, sequences: Sequence[TrainingSequence]) -> MicroBatch:
        """The micro-batch of a group."""
        if not self.packing:
            return padded_batch(sequences)
        return packed_batch(sequences) if self.grain is None else shared_batch(sequences, grain=self.grain)


def share_of_rank(
    by_pair: Sequence[Sequence[Unit]], layout: Layout, *, rank: int, ranks: int
) -> tuple[MicroBatch, ...]:
    """This rank's micro-batches of these pairs; the ranks with fewer than others get dummies too."""
    return _batches_of_rank(groups_of_ranks(by_pair, ranks, layout), rank, layout)


def groups_of_ranks(
    by_pair: Sequence[Sequence[Unit]], ranks: int, layout: Layout
) -> list[list[list[TrainingSequence]]]:
    """The groups of each rank's share of the pairs."""
    lengths = [layout.tokens([s for unit in units for s in unit]) for units in by_pair]
    return [
        layout.groups([unit for place in share for unit in by_pair[place]]) for share in deal(lengths, ranks)
    ]


def _batches_of_rank(
    groups: Sequence[Sequence[Sequence[TrainingSequence]]], rank: int, layout: Layout
) -> tuple[MicroBatch, ...]:
    batches = [layout.batch(sequences) for sequences in groups[rank]]
    return (*batches, *([DUMMY] * (max(map(len, groups)) - len(batches))))


def deal(lengths: Sequence[int], ranks: int) -> list[list[int]]:
    """Indices of `lengths` for each rank: the longest first, each to the rank with the least so far."""
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        rank = loads.index(min(loads))
        shares[rank].append(index)
        loads[rank] += lengths[index]
    return shares


def _units(sequences: Sequence[TrainingSequence], objective: Objective) -> list[Unit]:
    if objective.whole_pairs:
        return [tuple(sequences)] if sequences else []
    return [(sequence,) for sequence in sequences]


def group_rows(units: Sequence[Unit], tokens_per_batch: int) -> list[list[TrainingSequence]]:
    """Groups of similar length, each within the budget when padded to its longest sequence.

    The units are sorted by their longest sequence and cut where the total cost is lowest: tokens including
    padding, and `_GROUP_TOKENS` a group. A unit longer than the budget gets its own group. All units must
    have the same number of sequences.
    """
    ordered = sorted(units, key=lambda unit: -_longest(unit))
    lengths = [_longest(unit) * len(unit) for unit in ordered]
    cost, cut = [0], [0]  # the lowest cost of the first n units, and where their last group begins
    for end in range(1, len(ordered) + 1):
        last = next(n for n in range(end) if (end - n) * lengths[n] <= tokens_per_batch or n == end - 1)
        options = [cost[n] + (end - n) * lengths[n] + _GROUP_TOKENS for n in range(last, end)]
        cost.append(min(options))
        cut.append(last + options.index(cost[-1]))
    groups: list[list[TrainingSequence]] = []
    end = len(ordered)
    while end:
        groups.append([sequence for unit in ordered[cut[end] : end] for sequence in unit])
        end = cut[end]
    return groups[::-1]


def _longest(unit: Unit) -> int:
    return max(len(sequence.inputs_T) for sequence in unit)


def _tokens(unit: Unit) -> int:
    return sum(len(sequence.inputs_T) for sequence in unit)


def group_packed(units: Sequence[Unit], tokens_per_batch: int) -> list[list[TrainingSequence]]:
    """Groups within the budget without padding: the longest first, each into the first group with room."""
    groups: list[list[TrainingSequence]] = []
    room: list[int] = []
    for unit in sorted(units, key=lambda unit: -_tokens(unit)):
        length = _tokens(unit)
        place = next((i for i, left in enumerate(room) if length <= left), None)
        if place is None:
            groups.append([*unit])
            room.append(tokens_per_batch - length)
        else:
            groups[place] += unit
            room[place] -= length
    return groups

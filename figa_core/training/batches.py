"""The pairs of a step and each rank's micro-batches: deterministic for a seed, equal work for every rank.

Every rank plans the step of all ranks from the same shards. So the divisor N and the number of micro-batches
are known everywhere before the forward pass, without communication.

Shapes: B rows, T tokens of a row, K weighted tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from figa_core.training.data import PairData
from figa_core.training.objectives.base import Answer, Objective
from figa_core.training.sequence import TrainingSequence
from figa_core.training.top_tokens import TopTokens, joined

_IntArray = npt.NDArray[np.int64]
Unit = tuple[TrainingSequence, ...]
"""Sequences that must be in the same micro-batch: a single one, or all answers of a pair."""
# The fixed cost of a micro-batch (every gradient is copied and added once), in tokens of padding.
_GROUP_TOKENS = 400
_DRAWING = 1  # sets the random numbers of `drawn_pairs` apart from those of the epochs


@dataclass(frozen=True, eq=False, slots=True)
class MicroBatch:
    """One forward pass; the weighted targets are predicted at `rows_K` and `columns_K` of `ids_BT`.

    `pairs` and `answers` identify each sequence; `counts` is how many of the K targets it has, `rewards` its
    answer's reward. A dummy has no sequences.

    `position_ids_BT` and `piece_lengths` describe sequences packed into one row. They are None for padded
    rows: padding is on the right, where causal attention hides it.
    """

    ids_BT: _IntArray
    rows_K: _IntArray
    columns_K: _IntArray
    targets_K: _IntArray
    weights_K: npt.NDArray[np.float32]
    position_ids_BT: _IntArray | None = None
    piece_lengths: tuple[int, ...] | None = None
    pairs: tuple[int, ...] = ()
    answers: tuple[Answer, ...] = ()
    counts: tuple[int, ...] = ()
    rewards: tuple[float, ...] = ()
    reference_log_probs_K: npt.NDArray[np.float32] | None = None
    top: TopTokens | None = None


@dataclass(frozen=True, eq=False, slots=True)
class StepPlan:
    """One rank's share of an optimizer step, with figures of the whole step.

    Attributes:
        pairs: indices of the pairs of all ranks.
        counted: the divisor of the step's sum: N tokens (those whose class carries α or β), or pairs.
        weighted: tokens of the whole step with a non-zero weight; 0 means there is nothing to learn.
        tokens: tokens of the whole step that go through the model, without padding.
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
) -> StepPlan:
    """Deal the pairs to the ranks by length, and group this rank's sequences into micro-batches.

    Raises:
        ValueError: there are no pairs.
    """
    if not pairs:
        raise ValueError("a step needs at least one pair")
    by_pair = [data.sequences(pair, objective, tail_cut=tail_cut) for pair in pairs]
    units = [_units(sequences, objective) for sequences in by_pair]
    return StepPlan(
        pairs=tuple(pairs),
        counted=sum(data.counted(pair, objective) for pair in pairs),
        weighted=sum(len(s.weights_K) for sequences in by_pair for s in sequences),
        tokens=sum(len(s.inputs_T) for sequences in by_pair for s in sequences),
        micro_batches=share_of_rank(
            units, rank=rank, ranks=ranks, tokens_per_batch=tokens_per_batch, packing=packing
        ),
    )


def share_of_rank(
    by_pair: Sequence[Sequence[Unit]], *, rank: int, ranks: int, tokens_per_batch: int, packing: bool
) -> tuple[MicroBatch, ...]:
    """This rank's micro-batches of these pairs; the ranks with fewer than others get dummies too."""
    group = group_packed if packing else group_rows
    lengths = [sum(map(_tokens, units)) for units in by_pair]
    groups = [
        group([unit for place in share for unit in by_pair[place]], tokens_per_batch)
        for share in deal(lengths, ranks)
    ]
    build = packed_batch if packing else padded_batch
    batches = [build(sequences) for sequences in groups[rank]]
    return (*batches, *([_DUMMY] * (max(map(len, groups)) - len(batches))))


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


def padded_batch(sequences: Sequence[TrainingSequence]) -> MicroBatch:
    """One row per sequence, padded on the right with id 0."""
    ids_BT = np.zeros((len(sequences), max(len(s.inputs_T) for s in sequences)), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids_BT[row, : len(sequence.inputs_T)] = sequence.inputs_T
    rows_K = np.repeat(np.arange(len(sequences)), [len(s.columns_K) for s in sequences])
    columns_K = np.concatenate([s.columns_K for s in sequences])
    return _batch(sequences, ids_BT=ids_BT, rows_K=rows_K, columns_K=columns_K)


def packed_batch(sequences: Sequence[TrainingSequence]) -> MicroBatch:
    """All sequences in one row; positions restart with each (`attention.packed_attention`)."""
    lengths = [len(s.inputs_T) for s in sequences]
    starts = np.cumsum([0, *lengths[:-1]])
    ids_BT = np.concatenate([s.inputs_T for s in sequences]).astype(np.int64)[None]
    position_ids_BT = np.concatenate([np.arange(length) for length in lengths])[None]
    columns_K = np.concatenate([s.columns_K + start for s, start in zip(sequences, starts, strict=True)])
    return _batch(
        sequences,
        ids_BT=ids_BT,
        rows_K=np.zeros_like(columns_K),
        columns_K=columns_K,
        position_ids_BT=position_ids_BT,
        piece_lengths=tuple(lengths),
    )


def _batch(sequences: Sequence[TrainingSequence], **layout: Any) -> MicroBatch:
    log_probs = [s.reference_log_probs_K for s in sequences if s.reference_log_probs_K is not None]
    counts = tuple(len(s.targets_K) for s in sequences)
    return MicroBatch(
        **layout,
        targets_K=np.concatenate([s.targets_K for s in sequences]).astype(np.int64),
        weights_K=np.concatenate([s.weights_K for s in sequences]),
        pairs=tuple(s.pair for s in sequences),
        answers=tuple(s.answer for s in sequences),
        counts=counts,
        rewards=tuple(s.reward for s in sequences),
        # Some answers may have them and others not; then no objective reads them.
        reference_log_probs_K=np.concatenate(log_probs) if len(log_probs) == len(sequences) else None,
        top=joined((s.top for s in sequences), counts),
    )


_DUMMY = MicroBatch(
    ids_BT=np.zeros((1, 1), dtype=np.int64),
    rows_K=np.zeros(1, dtype=np.int64),
    columns_K=np.zeros(1, dtype=np.int64),
    targets_K=np.zeros(1, dtype=np.int64),
    weights_K=np.zeros(1, dtype=np.float32),
)
"""A forward and backward of zero loss for a rank with fewer micro-batches: all must join the collectives."""

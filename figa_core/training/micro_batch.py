"""One forward pass: sequences in padded rows, or packed into one row.

Shapes: B rows, T tokens of a row, K weighted tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from figa_core.training.objectives.base import Answer
from figa_core.training.prefixes import ROOT, tree_of
from figa_core.training.sequence import TrainingSequence
from figa_core.training.top_tokens import TopTokens, joined

_IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class MicroBatch:
    """One forward pass; the weighted targets are predicted at `rows_K` and `columns_K` of `ids_BT`.

    `pairs` and `answers` identify each sequence; `counts` is how many of the K targets it has, `rewards` its
    answer's reward. A dummy has no sequences.

    `position_ids_BT` and `piece_lengths` describe sequences packed into one row. They are None for padded
    rows: padding is on the right, where causal attention hides it. `piece_parents` describes pieces that
    continue others (`prefixes.py`), and is None if none does.
    """

    ids_BT: _IntArray
    rows_K: _IntArray
    columns_K: _IntArray
    targets_K: _IntArray
    weights_K: npt.NDArray[np.float32]
    position_ids_BT: _IntArray | None = None
    piece_lengths: tuple[int, ...] | None = None
    piece_parents: tuple[int, ...] | None = None
    pairs: tuple[int, ...] = ()
    answers: tuple[Answer, ...] = ()
    counts: tuple[int, ...] = ()
    rewards: tuple[float, ...] = ()
    reference_log_probs_K: npt.NDArray[np.float32] | None = None
    top: TopTokens | None = None


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


def shared_batch(sequences: Sequence[TrainingSequence], *, grain: int) -> MicroBatch:
    """All sequences in one row, in which those with the same beginning continue the same pieces."""
    tree = tree_of([s.inputs_T for s in sequences], grain=grain)
    columns_K = np.concatenate([place[s.columns_K] for s, place in zip(sequences, tree.places, strict=True)])
    return _batch(
        sequences,
        ids_BT=tree.ids_T[None],
        rows_K=np.zeros_like(columns_K),
        columns_K=columns_K,
        position_ids_BT=tree.position_ids_T[None],
        piece_lengths=tree.lengths,
        piece_parents=tree.parents if any(parent != ROOT for parent in tree.parents) else None,
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


DUMMY = MicroBatch(
    ids_BT=np.zeros((1, 1), dtype=np.int64),
    rows_K=np.zeros(1, dtype=np.int64),
    columns_K=np.zeros(1, dtype=np.int64),
    targets_K=np.zeros(1, dtype=np.int64),
    weights_K=np.zeros(1, dtype=np.float32),
)
"""A forward and backward of zero loss for a rank with fewer micro-batches: all must join the collectives."""

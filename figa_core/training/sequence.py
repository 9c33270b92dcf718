"""A training sequence: what goes into the model, and which of its tokens are trained on.

Shapes: T tokens of the sequence, K weighted ones, N tokens of a piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from figa_core.training.objectives.base import Answer
from figa_core.training.top_tokens import TopTokens


@dataclass(frozen=True, eq=False, slots=True)
class TrainingSequence:
    """Prompt and one answer of a pair, cut for the forward pass.

    Attributes:
        pair: index of the pair in the shard set.
        inputs_T: ids that go into the model.
        columns_K: positions of `inputs_T` whose next token has a weight or is held to the base model.
        targets_K, weights_K: those next tokens and their weights.
        reward: the reward model's value of the answer; NaN for a reference or best sample.
        reference_log_probs_K: their log-probabilities under the reference model, if they were loaded.
        top: the base model's most likely tokens at those that are held to it.
    """

    pair: int
    answer: Answer
    inputs_T: npt.NDArray[np.integer]
    columns_K: npt.NDArray[np.int64]
    targets_K: npt.NDArray[np.integer]
    weights_K: npt.NDArray[np.float32]
    reward: float = float("nan")
    reference_log_probs_K: npt.NDArray[np.float32] | None = None
    top: TopTokens | None = None


Unit = tuple[TrainingSequence, ...]
"""Sequences that must be in the same micro-batch: a single one, or all answers of a pair."""


class Piece(NamedTuple):
    """An answer in a chain: the ids of the words before it, its own ids and their weights, (N) both."""

    words: npt.NDArray[Any]
    ids_N: npt.NDArray[Any]
    weights_N: npt.NDArray[np.float32]


def chained(
    pair: int, answer: Answer, prompt: npt.NDArray[Any], pieces: Sequence[Piece], *, tail_cut: bool
) -> TrainingSequence:
    """The prompt, then the words and the answer of each piece; prompt and words have no weight."""
    ids, weights = [prompt], [np.zeros(len(prompt), dtype=np.float32)]
    for piece in pieces:
        ids += [piece.words, piece.ids_N]
        weights += [np.zeros(len(piece.words), dtype=np.float32), piece.weights_N]
    ids_T, weights_T = np.concatenate(ids), np.concatenate(weights)
    weighted = np.flatnonzero(weights_T)
    kept = int(weighted[-1]) if tail_cut and weighted.size else len(ids_T) - 1
    return TrainingSequence(
        pair=pair,
        answer=answer,
        inputs_T=ids_T[:kept],
        columns_K=weighted - 1,
        targets_K=ids_T[weighted],
        weights_K=weights_T[weighted],
    )

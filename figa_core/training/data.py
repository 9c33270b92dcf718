"""A shard set in memory as flat arrays, and the training sequences of its pairs.

No Python object exists per row: a column of lists is one array of values and one of offsets.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from figa_core.errors import TrainingError
from figa_core.shards.read import iter_tables
from figa_core.training.objectives import AnswerWeights, Recipe


@dataclass(frozen=True, eq=False, slots=True)
class Ragged:
    """Rows of different lengths: row i is ``values[offsets[i]:offsets[i + 1]]``."""

    values: npt.NDArray[np.integer]
    offsets: npt.NDArray[np.int64]

    def row(self, index: int) -> npt.NDArray[np.integer]:
        """A view, not a copy."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of every row."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False, slots=True)
class TrainingSequence:
    """Prompt and one answer of a pair, cut for the forward pass.

    Attributes:
        pair: index of the pair in the shard set.
        inputs_T: ids that go into the model.
        columns_K: positions of `inputs_T` whose next token has a non-zero weight.
        targets_K: those next tokens.
        weights_K: their weights, fp32.
    """

    pair: int
    inputs_T: npt.NDArray[np.integer]
    columns_K: npt.NDArray[np.int64]
    targets_K: npt.NDArray[np.integer]
    weights_K: npt.NDArray[np.float32]


class PairData:
    """The pairs of a complete shard set.

    Raises:
        StorageError: the set is incomplete or damaged.
        TrainingError: classes and ids of a pair differ in length, or a pair has no prompt.
    """

    def __init__(self, directory: Path) -> None:
        tables = list(iter_tables(directory))
        self._directory = directory
        self._pair_ids = pa.chunked_array(
            [chunk for table in tables for chunk in table.column("pair_id").chunks]
        )
        self._prompts = _ragged(tables, "prompt_ids")
        self._ids = {
            answer: _ragged(tables, f"{answer}_ids") for answer in ("response", "revision", "reference")
        }
        self._classes = {answer: _ragged(tables, f"{answer}_classes") for answer in ("response", "revision")}
        self._scales = np.concatenate([table.column("scale").to_numpy() for table in tables])
        self._check()
        # Exactly 1 where all are alike.
        self._scales = (self._scales / self._scales.mean()).astype(np.float32)

    def __len__(self) -> int:
        return len(self._pair_ids)

    def pair_id(self, index: int) -> str:
        """Content id of a pair."""
        return self._pair_ids[index].as_py()

    def check_vocabulary(self, vocabulary: int) -> None:
        """Refuse ids the model has no embedding for.

        Raises:
            TrainingError: naming the first pair with such an id.
        """
        for name, column in (("prompt", self._prompts), *self._ids.items()):
            wrong = np.flatnonzero((column.values >= vocabulary) | (column.values < 0))
            if wrong.size:
                row = int(np.searchsorted(column.offsets, wrong[0], side="right")) - 1
                token_id = int(column.values[wrong[0]])
                raise TrainingError(
                    f"{self._directory}: pair {self.pair_id(row)} has token id {token_id} in its {name}, "
                    f"and the model's vocabulary ends at {vocabulary - 1}. Train the model they are for."
                )

    def check_length(self, recipe: Recipe, limit: int, setting: str) -> None:
        """Refuse sequences longer than `limit` tokens, which `setting` gave.

        Raises:
            TrainingError: naming the longest pair.
        """
        for answer in recipe.answers:
            lengths = self._prompts.lengths() + self._ids[answer.answer].lengths()
            longest = int(np.argmax(lengths))
            if lengths[longest] > limit:
                raise TrainingError(
                    f"{self._directory}: pair {self.pair_id(longest)} has {lengths[longest]} tokens (prompt "
                    f"and {answer.answer}), {setting} is {limit}. Raise it, or weigh with a smaller "
                    "max_length."
                )

    def counted(self, pair: int, recipe: Recipe) -> int:
        """This pair's share of N: its tokens whose class carries α or β (for SFT: its target tokens)."""
        return sum(
            int(answer.counted_by_class[self._answer_classes(pair, answer)].sum())
            for answer in recipe.answers
        )

    def sequences(self, pair: int, recipe: Recipe, *, tail_cut: bool) -> list[TrainingSequence]:
        """The pair's training sequences; `tail_cut` leaves out those without a weight and cuts the rest."""
        scale = self._scales[pair] if recipe.scaled else np.float32(1)
        sequences = [self._sequence(pair, answer, scale, tail_cut) for answer in recipe.answers]
        return [
            sequence
            for sequence in sequences
            if len(sequence.inputs_T) and (len(sequence.weights_K) or not tail_cut)
        ]

    def _sequence(
        self, pair: int, answer: AnswerWeights, scale: np.float32, tail_cut: bool
    ) -> TrainingSequence:
        prompt = self._prompts.row(pair)
        ids = self._ids[answer.answer].row(pair)
        weights = answer.weight_by_class[self._answer_classes(pair, answer)]
        weighted = np.flatnonzero(weights)
        # The last token of a sequence is only ever predicted, so it never goes in. Causal attention: what
        # follows the last weighted token cannot matter either.
        kept = (int(weighted[-1]) if weighted.size else 0) if tail_cut else max(len(ids) - 1, 0)
        return TrainingSequence(
            pair=pair,
            inputs_T=np.concatenate((prompt, ids[:kept])) if len(ids) else prompt[:0],
            columns_K=weighted + (len(prompt) - 1),
            targets_K=ids[weighted],
            weights_K=weights[weighted] * scale,
        )

    def _answer_classes(self, pair: int, answer: AnswerWeights) -> npt.NDArray[np.integer]:
        if answer.answer == "reference":
            return np.zeros(len(self._ids["reference"].row(pair)), dtype=np.int8)
        return self._classes[answer.answer].row(pair)

    def _check(self) -> None:
        for answer, classes in self._classes.items():
            tokens = self._ids[answer].lengths()
            wrong = np.flatnonzero(classes.lengths() != tokens)
            if wrong.size:
                row = int(wrong[0])
                raise TrainingError(
                    f"{self._directory}: pair {self.pair_id(row)} has {classes.lengths()[row]} classes for "
                    f"{tokens[row]} {answer} tokens. Weigh it again."
                )
        unscaled = np.flatnonzero(~(np.isfinite(self._scales) & (self._scales > 0)))
        if unscaled.size:
            raise TrainingError(
                f"{self._directory}: pair {self.pair_id(int(unscaled[0]))} has a scale that is no positive "
                "number. Weigh it again."
            )
        unprompted = np.flatnonzero(self._prompts.lengths() == 0)
        if unprompted.size:
            raise TrainingError(
                f"{self._directory}: pair {self.pair_id(int(unprompted[0]))} has an empty prompt, so nothing "
                "predicts its first token. Weigh it again."
            )


def _ragged(tables: list[pa.Table], name: str) -> Ragged:
    chunks = [chunk for table in tables for chunk in table.column(name).chunks]
    values = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks])
    lengths = np.concatenate([np.diff(chunk.offsets.to_numpy()) for chunk in chunks])
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Ragged(values, offsets)

"""A shard set in memory, and the training sequences of its pairs.

A column of lists is one array of values and one of offsets, so there are no Python objects per row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from figa_core.errors import TrainingError
from figa_core.shards.manifest import FACTORS
from figa_core.shards.read import iter_tables
from figa_core.training import reference_log_probs
from figa_core.training.objectives.base import Answer, Objective
from figa_core.weighting.schemes import every_class


@dataclass(frozen=True, eq=False, slots=True)
class Ragged:
    """Rows of different lengths: row i is ``values[offsets[i]:offsets[i + 1]]``."""

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]

    def row(self, index: int) -> npt.NDArray[Any]:
        """A view, not a copy."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False, slots=True)
class TrainingSequence:
    """Prompt and one answer of a pair, cut for the forward pass.

    Attributes:
        pair: index of the pair in the shard set.
        inputs_T: ids that go into the model.
        columns_K: positions of `inputs_T` whose next token has a non-zero weight.
        targets_K, weights_K: those next tokens and their weights.
        reward: the reward model's value of the answer; NaN for a reference.
        reference_log_probs_K: their log-probabilities under the reference model, if they were loaded.
    """

    pair: int
    answer: Answer
    inputs_T: npt.NDArray[np.integer]
    columns_K: npt.NDArray[np.int64]
    targets_K: npt.NDArray[np.integer]
    weights_K: npt.NDArray[np.float32]
    reward: float = float("nan")
    reference_log_probs_K: npt.NDArray[np.float32] | None = None


class PairData:
    """The pairs of a complete shard set, optionally with their log-probabilities under a reference model.

    `drawn`: only the pairs at these places of the set.

    Raises:
        StorageError: the set is incomplete or damaged, or the log-probabilities are.
        TrainingError: classes and ids of a pair differ in length, or a pair has no prompt.
    """

    def __init__(
        self,
        directory: Path,
        log_probs: Path | None = None,
        *,
        drawn: npt.NDArray[np.int64] | None = None,
    ) -> None:
        tables = list(iter_tables(directory))
        if drawn is not None:
            tables = [pa.concat_tables(tables).take(pa.array(drawn))]
        self._directory, self._drawn = directory, drawn
        self._pair_ids = pa.chunked_array(
            [chunk for table in tables for chunk in table.column("pair_id").chunks]
        )
        self._prompts = _column(tables, "prompt_ids")
        self._ids = {
            answer: _column(tables, f"{answer}_ids") for answer in ("response", "revision", "reference")
        }
        self._classes = {answer: _column(tables, f"{answer}_classes") for answer in ("response", "revision")}
        has_factors = FACTORS in tables[0].schema.names
        self._factors = _column(tables, FACTORS) if has_factors else None
        self._rewards: dict[Answer, npt.NDArray[np.float64]] = {
            answer: np.concatenate([table.column(f"{answer}_reward").to_numpy() for table in tables])
            for answer in ("response", "revision")
        }
        self._scales = np.concatenate([table.column("scale").to_numpy() for table in tables])
        self._check()
        # Exactly 1 if all are equal.
        self._scales = (self._scales / self._scales.mean()).astype(np.float32)
        self._log_probs = {} if log_probs is None else self._read_log_probs(log_probs)

    def __len__(self) -> int:
        return len(self._pair_ids)

    def pair_id(self, index: int) -> str:
        return self._pair_ids[index].as_py()

    def check_vocabulary(self, vocabulary: int) -> None:
        """Refuse ids for which the model has no embedding.

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
                    f"and the model's vocabulary ends at {vocabulary - 1}. Train the model that these shards "
                    "were made for."
                )

    def check_length(self, objective: Objective, limit: int, setting: str, *, together: bool = False) -> None:
        """Refuse sequences longer than `limit` tokens, the value of `setting`.

        With `together` all answers of a pair count, each padded to the longest.

        Raises:
            TrainingError: naming the longest pair.
        """
        answers, prompts = objective.answers, self._prompts.lengths()
        checked = {f"prompt and {answer}": prompts + self._ids[answer].lengths() for answer in answers}
        if together:
            padded = np.max([*checked.values()], axis=0) * len(answers)
            checked = {f"padded prompts with {' and '.join(answers)}": padded}
        for what, lengths in checked.items():
            longest = int(np.argmax(lengths))
            if lengths[longest] > limit:
                raise TrainingError(
                    f"{self._directory}: pair {self.pair_id(longest)} has {lengths[longest]} tokens "
                    f"({what}), {setting} is {limit}. Raise it, or weigh with a smaller max_length."
                )

    def check_log_probs(self, objective: Objective) -> None:
        """Refuse an objective that needs log-probabilities of a reference model that were not loaded.

        Raises:
            TrainingError: naming what is missing.
        """
        missing = [answer for answer in objective.answers if answer not in self._log_probs]
        if objective.reference_log_probs and missing:
            raise TrainingError(
                f"{self._directory}: {objective.name} needs a reference model's log-probabilities of every "
                f"{' and '.join(missing)}, and there are none. The train stage makes them."
            )

    def answer_tokens(self, pair: int, answer: Answer) -> int:
        """The number of tokens of one answer; 0 if the pair has none."""
        return len(self._ids[answer].row(pair))

    def whole_answer(self, pair: int, answer: Answer) -> TrainingSequence:
        """One answer with weight 1 at every token."""
        return self.weighted_answer(pair, answer, every_class()[0])

    def weighted_answer(
        self, pair: int, answer: Answer, weight_by_class: npt.NDArray[np.float32]
    ) -> TrainingSequence:
        """One answer with these weights, indexed by `EditClass`, cut after the last that is not zero."""
        return self._sequence(pair, answer, weight_by_class, np.float32(1), tail_cut=True)

    def counted(self, pair: int, objective: Objective) -> int:
        """This pair's share of the step's divisor: its counted tokens, or 1 per pair."""
        if not self._is_whole(pair, objective):
            return 0
        tokens = sum(
            int(tables.counted[self._answer_classes(pair, answer)].sum())
            for answer, tables in objective.tables.items()
        )
        return int(tokens > 0) if objective.per_pair else tokens

    def sequences(self, pair: int, objective: Objective, *, tail_cut: bool) -> list[TrainingSequence]:
        """The pair's training sequences; `tail_cut` drops those without a weight and cuts the others.

        For objectives on whole pairs these are all answers or none.
        """
        if not self._is_whole(pair, objective):
            return []
        scale = self._scales[pair] if objective.scaled else np.float32(1)
        sequences = [
            self._sequence(
                pair,
                answer,
                tables.weights,
                scale,
                tail_cut,
                graded=objective.scaled and answer == "revision",
            )
            for answer, tables in objective.tables.items()
        ]
        if objective.whole_pairs:
            weighted = any(len(sequence.weights_K) for sequence in sequences)
            return sequences if weighted or not tail_cut else []
        return [
            sequence
            for sequence in sequences
            if len(sequence.inputs_T) and (len(sequence.weights_K) or not tail_cut)
        ]

    def _is_whole(self, pair: int, objective: Objective) -> bool:
        return not objective.whole_pairs or all(
            self.answer_tokens(pair, answer) for answer in objective.answers
        )

    def _sequence(
        self,
        pair: int,
        answer: Answer,
        weight_by_class: npt.NDArray[np.float32],
        scale: np.float32,
        tail_cut: bool,
        *,
        graded: bool = False,
    ) -> TrainingSequence:
        prompt, ids = self._prompts.row(pair), self._ids[answer].row(pair)
        weights = weight_by_class[self._answer_classes(pair, answer)]
        if graded and self._factors is not None:
            weights = weights * self._factors.row(pair)
        weighted = np.flatnonzero(weights)
        # The last token of a sequence is predicted but is no input. With causal attention, the tokens after
        # the last weighted one have no influence either.
        kept = (int(weighted[-1]) if weighted.size else 0) if tail_cut else max(len(ids) - 1, 0)
        log_probs = self._log_probs.get(answer)
        return TrainingSequence(
            pair=pair,
            answer=answer,
            inputs_T=np.concatenate((prompt, ids[:kept])) if len(ids) else prompt[:0],
            columns_K=weighted + (len(prompt) - 1),
            targets_K=ids[weighted],
            weights_K=weights[weighted] * scale,
            reward=float(self._rewards[answer][pair]) if answer in self._rewards else float("nan"),
            reference_log_probs_K=None if log_probs is None else log_probs.row(pair)[weighted],
        )

    def _answer_classes(self, pair: int, answer: Answer) -> npt.NDArray[Any]:
        if answer == "reference":
            return np.zeros(self.answer_tokens(pair, answer), dtype=np.int8)
        return self._classes[answer].row(pair)

    def _read_log_probs(self, directory: Path) -> dict[Answer, Ragged]:
        table = reference_log_probs.read(directory)
        if self._drawn is not None:
            table = table.take(pa.array(self._drawn))
        answers: list[Answer] = table.schema.names[1:]
        columns: dict[Answer, Ragged] = {answer: _column([table], answer) for answer in answers}
        lengths_agree = all(
            np.array_equal(column.lengths(), self._ids[answer].lengths())
            for answer, column in columns.items()
        )
        if not (lengths_agree and table.column("pair_id").equals(self._pair_ids)):
            raise TrainingError(
                f"{directory}: these log-probabilities are of other pairs than those of {self._directory}. "
                f"Remove {directory} and train again: that computes them again."
            )
        return columns

    def _check(self) -> None:
        for answer, classes in self._classes.items():
            unequal = classes.lengths() != self._ids[answer].lengths()
            self._refuse_where(unequal, f"has more or fewer classes than {answer} tokens")
        unscaled = ~(np.isfinite(self._scales) & (self._scales > 0))
        self._refuse_where(unscaled, "has a scale that is not a positive number")
        if self._factors is not None:
            unequal = self._factors.lengths() != self._ids["revision"].lengths()
            self._refuse_where(unequal, "has more or fewer factors than revision tokens")
            values = self._factors.values
            wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
            rows = np.searchsorted(self._factors.offsets, wrong, side="right") - 1
            unusable = np.isin(np.arange(len(self)), rows)
            self._refuse_where(unusable, "has a factor that is not a positive number")
        unprompted = self._prompts.lengths() == 0
        self._refuse_where(unprompted, "has an empty prompt, so nothing predicts its first token")

    def _refuse_where(self, wrong: npt.NDArray[np.bool_], what: str) -> None:
        if wrong.any():
            pair_id = self.pair_id(int(np.argmax(wrong)))
            raise TrainingError(f"{self._directory}: pair {pair_id} {what}. Weigh it again.")


def _column(tables: list[pa.Table], name: str) -> Ragged:
    chunks = [chunk for table in tables for chunk in table.column(name).chunks]
    values = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks])
    lengths = np.concatenate([np.diff(chunk.offsets.to_numpy()) for chunk in chunks])
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

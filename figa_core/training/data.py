"""A shard set in memory, and the training sequences of its pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from figa_core.errors import TrainingError
from figa_core.records import EditClass
from figa_core.shards.manifest import BEST, FACTORS
from figa_core.shards.read import iter_tables
from figa_core.training.base_predictions import BasePredictions, read_base_predictions
from figa_core.training.objectives.base import Answer, Objective, Part
from figa_core.training.ragged import Ragged, column_of
from figa_core.training.sequence import Piece, TrainingSequence, chained
from figa_core.training.top_tokens import TopTokens
from figa_core.weighting.places import PairTokens
from figa_core.weighting.schemes import every_class


class PairData:
    """The pairs of a complete shard set, optionally with their log-probabilities under a reference model.

    `drawn`: only the pairs at these places of the set. `word_ids`: the ids of the words in an objective's
    chains (`words.py`).

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
        word_ids: Mapping[str, Sequence[int]] = MappingProxyType({}),
    ) -> None:
        tables = list(iter_tables(directory))
        if drawn is not None:
            tables = [pa.concat_tables(tables).take(pa.array(drawn))]
        self._directory, self._drawn = directory, drawn
        self._word_ids = {words: np.asarray(ids, dtype=np.int32) for words, ids in word_ids.items()}
        self._pair_ids = pa.chunked_array(
            [chunk for table in tables for chunk in table.column("pair_id").chunks]
        )
        self._prompts = column_of(tables, "prompt_ids")
        self._ids: dict[Answer, Ragged] = {
            answer: column_of(tables, f"{answer}_ids") for answer in ("response", "revision", "reference")
        }
        if BEST in tables[0].schema.names:
            self._ids["best"] = column_of(tables, BEST)
        self._classes: dict[Answer, Ragged] = {
            answer: column_of(tables, f"{answer}_classes") for answer in ("response", "revision")
        }
        has_factors = FACTORS in tables[0].schema.names
        self._factors = column_of(tables, FACTORS) if has_factors else None
        self._rewards: dict[Answer, npt.NDArray[np.float64]] = {
            answer: np.concatenate([table.column(f"{answer}_reward").to_numpy() for table in tables])
            for answer in ("response", "revision")
        }
        self._scales = np.concatenate([table.column("scale").to_numpy() for table in tables])
        self._check()
        # Exactly 1 if all are equal.
        self._scales = (self._scales / self._scales.mean()).astype(np.float32)
        self._base = None if log_probs is None else self._read_base(log_probs)

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
        for chain in objective.chains:
            added = [self._ids[part.answer].lengths() + len(self._words(part)) for part in chain]
            checked["prompt and " + " and ".join(part.answer for part in chain)] = prompts + sum(added)
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
        base = self._base or BasePredictions({}, None)
        missing = [answer for answer in objective.reference_answers if answer not in base.log_probs]
        if missing or (objective.held_to_base and base.top is None):
            raise TrainingError(
                f"{self._directory}: {objective.name} needs a reference model's log-probabilities of every "
                f"{' and '.join(missing or objective.reference_answers)}, and there are none. The train "
                "stage makes them."
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
        weights = weight_by_class[self.answer_classes(pair, answer)]
        return self._sequence(pair, answer, weights, tail_cut=True)

    def counted(self, pair: int, objective: Objective) -> int:
        """This pair's share of the step's divisor: its counted tokens, or 1 per pair."""
        if not self._is_whole(pair, objective):
            return 0
        read: Sequence[Answer] = objective.answers
        if objective.chains:
            read = [part.answer for chain in self._chains(pair, objective) for part in chain]
        tokens = sum(
            int(objective.tables[answer].counted[self.answer_classes(pair, answer)].sum()) for answer in read
        )
        return int(tokens > 0) if objective.per_pair else tokens

    def sequences(self, pair: int, objective: Objective, *, tail_cut: bool) -> list[TrainingSequence]:
        """The pair's training sequences; `tail_cut` drops those without a weight and cuts the others.

        For objectives on whole pairs these are all answers or none.
        """
        if not self._is_whole(pair, objective):
            return []
        if objective.chains:
            return [
                self._chain(pair, chain, objective, tail_cut=tail_cut)
                for chain in self._chains(pair, objective)
            ]
        sequences = [
            self._sequence(
                pair,
                answer,
                self._weights(pair, answer, objective),
                tail_cut=tail_cut,
                held=objective.held_to_base and answer == "revision",
            )
            for answer in objective.tables
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

    def _weights(self, pair: int, answer: Answer, objective: Objective) -> npt.NDArray[np.float32]:
        weights = objective.token_weights(answer, self._pair_tokens(pair))
        if weights is None:
            weights = objective.tables[answer].weights[self.answer_classes(pair, answer)]
        if not objective.scaled:
            return weights
        if answer == "revision" and self._factors is not None:
            weights = weights * self._factors.row(pair)
        return weights * self._scales[pair]

    def _pair_tokens(self, pair: int) -> PairTokens:
        columns = [
            column.row(pair)
            for answer in ("response", "revision")
            for column in (self._ids[answer], self._classes[answer])
        ]
        return PairTokens(*columns)

    def _sequence(
        self,
        pair: int,
        answer: Answer,
        weights: npt.NDArray[np.float32],
        *,
        tail_cut: bool,
        held: bool = False,
    ) -> TrainingSequence:
        prompt, ids = self._prompts.row(pair), self._ids[answer].row(pair)
        kept = self.answer_classes(pair, answer) == EditClass.KEPT
        weighted = np.flatnonzero((weights != 0) | kept if held else weights)
        # The last token of a sequence is predicted but is no input. With causal attention, the tokens after
        # the last weighted one have no influence either.
        inputs = (int(weighted[-1]) if weighted.size else 0) if tail_cut else max(len(ids) - 1, 0)
        log_probs = self._base.log_probs.get(answer) if self._base else None
        return TrainingSequence(
            pair=pair,
            answer=answer,
            inputs_T=np.concatenate((prompt, ids[:inputs])) if len(ids) else prompt[:0],
            columns_K=weighted + (len(prompt) - 1),
            targets_K=ids[weighted],
            weights_K=weights[weighted],
            reward=float(self._rewards[answer][pair]) if answer in self._rewards else float("nan"),
            reference_log_probs_K=None if log_probs is None else log_probs.row(pair)[weighted],
            top=self._top_tokens(pair, np.flatnonzero(kept[weighted]), weighted) if held else None,
        )

    def _chains(self, pair: int, objective: Objective) -> list[tuple[Part, ...]]:
        """The objective's chains for which this pair has all answers."""
        return [
            chain
            for chain in objective.chains
            if all(self.answer_tokens(pair, part.answer) for part in chain)
        ]

    def _chain(
        self, pair: int, chain: Sequence[Part], objective: Objective, *, tail_cut: bool
    ) -> TrainingSequence:
        pieces = [
            Piece(
                self._words(part),
                self._ids[part.answer].row(pair),
                self._weights(pair, part.answer, objective),
            )
            for part in chain
        ]
        return chained(pair, chain[-1].answer, self._prompts.row(pair), pieces, tail_cut=tail_cut)

    def _words(self, part: Part) -> npt.NDArray[np.int32]:
        return self._word_ids[part.words] if part.words else np.zeros(0, dtype=np.int32)

    def _top_tokens(
        self, pair: int, places: npt.NDArray[np.int64], weighted: npt.NDArray[np.int64]
    ) -> TopTokens:
        assert self._base is not None, "see check_log_probs"
        return TopTokens(places, *self._base.top_tokens(pair, weighted[places]))

    def answer_classes(self, pair: int, answer: Answer) -> npt.NDArray[Any]:
        """The `EditClass` of every token of one answer; those of a reference or best sample are KEPT."""
        if answer not in self._classes:
            return np.zeros(self.answer_tokens(pair, answer), dtype=np.int8)
        return self._classes[answer].row(pair)

    def _read_base(self, directory: Path) -> BasePredictions:
        lengths: dict[Answer, npt.NDArray[np.int64]] = {
            answer: column.lengths() for answer, column in self._ids.items()
        }
        found = read_base_predictions(directory, self._pair_ids, lengths, rows=self._drawn)
        if found is None:
            raise TrainingError(
                f"{directory}: these log-probabilities are of other pairs than those of {self._directory}. "
                f"Remove {directory} and train again: that computes them again."
            )
        return found

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

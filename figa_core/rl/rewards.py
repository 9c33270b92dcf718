"""The run's rewards for samples of a model in training: the same template, tokens, model and value.

It runs in the worker's environment, with the parts that generate and score stages use (`chat/format.py`,
`inference/transformers.py`). A sample that cannot be scored has no reward.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figa_core.chat.format import load_chat_format
from figa_core.chat.stops import before_stop
from figa_core.chat.thinking import thoughts_of
from figa_core.errors import TrainingError
from figa_core.inference.engine import Scoring
from figa_core.inference.transformers import TransformersScorer
from figa_core.ports import RowFailure, ScoringRequest
from figa_core.records import Message


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample: its conversation, and the ids as the model wrote them, up to a stop token if there is one."""

    messages: Sequence[Message]
    token_ids: Sequence[int]


class Rewards:
    """The reward model, and the two chat formats between which a sample is translated.

    `scored_tokens` and `unscored` count since the start what the reward model has read, and the samples
    without a reward.
    """

    def __init__(
        self,
        policy: Path,
        reward_model: Path,
        *,
        max_length: int,
        tokens_per_batch: int,
        variables: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
    ) -> None:
        """`variables` are those of the policy's chat template; the texts `stop` end an answer.

        Raises EngineError if the reward model cannot score, ConfigError if a template is unusable.
        """
        self._policy, self._chat = load_chat_format(policy, variables), load_chat_format(reward_model)
        self._thoughts = thoughts_of(self._policy)
        self._stops, self._stop_texts = frozenset(self._policy.stop_token_ids), stop
        self._max_length = max_length
        settings = Scoring(reward_model, max_length, tokens_per_batch=tokens_per_batch)
        self._scorer = TransformersScorer(settings)
        self.scored_tokens = self.unscored = 0

    def text(self, token_ids: Sequence[int]) -> str:
        """The answer in a sample, without thoughts and its end of turn, as the generate stage stores it."""
        ids = tuple(token_ids)
        end = next((place for place, token in enumerate(ids) if token in self._stops), None)
        if end is not None:
            ids = self._policy.without_end_of_turn(ids[:end])
        if self._stop_texts and (before := before_stop(self._policy, ids, self._stop_texts)) is not None:
            ids = before
        if self._thoughts is not None:
            ids = self._thoughts.split(ids).answer_ids or ()
        return self._policy.decode(ids)

    def of(self, samples: Sequence[Drawn]) -> list[float | None]:
        """The raw reward of each sample; None if its text or its value cannot be used.

        Raises:
            TrainingError: that is so for all of them.
        """
        texts = [self.text(sample.token_ids) for sample in samples]
        conversations = [(sample.messages, text) for sample, text in zip(samples, texts, strict=True)]
        requests = [
            ScoringRequest(str(row), found[-self._max_length :])
            for row, found in enumerate(self._chat.conversation_ids_or_reasons(conversations))
            if not isinstance(found, str)
        ]
        values: list[float | None] = [None] * len(samples)
        for batch in self._scorer.score(requests):
            for row in batch:
                if not isinstance(row, RowFailure) and math.isfinite(row[1]):
                    values[int(row[0])] = row[1]
        self.scored_tokens += sum(len(request.token_ids) for request in requests)
        missing = values.count(None)
        self.unscored += missing
        if missing == len(samples):
            raise TrainingError(
                "none of a step's samples has a reward: the reward model's template refuses them, or its "
                "values are not finite numbers. Look at reward.model and its chat template."
            )
        return values

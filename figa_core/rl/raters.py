"""Who rates samples: a reward model, or a user's program in processes of its own.

They run in the worker's environment, with the parts that the score stages use, so that a text has the same
value. A program's processes are of the environment that the run has, where its modules are.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from figa_core.chat.format import load_chat_format
from figa_core.inference.engine import Scoring
from figa_core.inference.transformers import TransformersScorer
from figa_core.ports import RewardRequest, Rewards, RowFailure, ScoringRequest
from figa_core.rewards.program import Program, log_name, processes_here
from figa_core.rewards.worker import Interpreter
from figa_core.rl.job_rewards import ModelReward, ProgramReward

_FLOAT32_MAX = 3.4028234e38

Rated = float | str
"""A finite value, or the reason why there is none."""


class Rater(Protocol):
    """One of a training's rewards; `scored_tokens` counts since the start what a reward model has read."""

    scored_tokens: int

    def rate(self, answers: Sequence[RewardRequest]) -> list[Rated]:
        """One for each answer; their ids are their places in the sequence."""
        ...

    def close(self) -> None: ...


class ModelRater:
    """A reward model with its own chat format, as the score stage uses it."""

    def __init__(self, reward: ModelReward, *, tokens_per_batch: int) -> None:
        """Raises EngineError if the model cannot score, ConfigError if its template is unusable."""
        self._chat, self._max_length = load_chat_format(reward.model), reward.max_length
        settings = Scoring(reward.model, reward.max_length, tokens_per_batch=tokens_per_batch)
        self._scorer = TransformersScorer(settings)
        self.scored_tokens = 0

    def rate(self, answers: Sequence[RewardRequest]) -> list[Rated]:
        found = self._chat.conversation_ids_or_reasons([(each.messages, each.text) for each in answers])
        rated: list[Rated] = [ids if isinstance(ids, str) else "it has no value" for ids in found]
        requests = [
            ScoringRequest(str(place), ids[-self._max_length :])
            for place, ids in enumerate(found)
            if not isinstance(ids, str)
        ]
        for batch in self._scorer.score(requests):
            _take_in(rated, batch)
        self.scored_tokens += sum(len(request.token_ids) for request in requests)
        return rated

    def close(self) -> None:
        """Nothing is open."""


class ProgramRater:
    """A user's program; a text that costs it its time, its memory or its process has no value."""

    scored_tokens = 0

    def __init__(self, reward: ProgramReward, logs: Path, interpreter: Interpreter | None = None) -> None:
        """What the program prints goes to a file in the directory `logs`."""
        self._program = Program(
            reward.settings,
            logs / log_name(reward.name),
            processes=processes_here(reward.processes),
            interpreter=interpreter,
        )

    def rate(self, answers: Sequence[RewardRequest]) -> list[Rated]:
        """Raises EngineError if the program cannot be imported or called."""
        rated: list[Rated] = ["it has no value"] * len(answers)
        for batch in self._program.score(answers):
            _take_in(rated, batch)
        return rated

    def close(self) -> None:
        self._program.__exit__()


def _take_in(rated: list[Rated], batch: Rewards) -> None:
    for row in batch:
        if isinstance(row, RowFailure):
            rated[int(row.row_id)] = row.reason
        elif math.isfinite(row[1]):
            rated[int(row[0])] = row[1]
        else:
            rated[int(row[0])] = f"the value is not a finite number (it is {row[1]})"


def too_large(value: float) -> bool:
    """Whether TRL, which keeps rewards in float32, would make an infinite one of it."""
    return abs(value) > _FLOAT32_MAX

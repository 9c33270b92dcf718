"""The run's rewards for samples of a model in training: the same text, the same parts and the same value.

It runs in the worker's environment. Several rewards are combined with the run's stored scale and weights. A
sample for which one of them has no value has no reward, as in the run, and TRL gets None: it leaves such a
sample out of the baseline of its prompt, with an advantage of 0. TRL gets one number a sample, because of
several reward functions it would add up those that have a value.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from figa_core.chat.format import load_chat_format
from figa_core.chat.stops import before_stop
from figa_core.chat.thinking import thoughts_of
from figa_core.errors import TrainingError
from figa_core.ports import RewardRequest
from figa_core.records import Message
from figa_core.rewards.program_worker import CANNOT_SAY
from figa_core.rewards.worker import Interpreter
from figa_core.rl.job_rewards import JobReward, ModelReward
from figa_core.rl.raters import ModelRater, ProgramRater, Rated, Rater, too_large
from figa_core.row_failures import failure_kind, hopeless

_SAMPLES_TO_JUDGE_BY = 32
_REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample: its conversation, the ids as the model wrote them, up to a stop token if there is one, and
    the fields of its prompt's row.
    """

    messages: Sequence[Message]
    token_ids: Sequence[int]
    fields: Mapping[str, Any] = field(default_factory=dict)


class Rewards:
    """A context manager around what rates samples.

    `unscored` and `reasons` count since the start the samples without a reward, and why they have none;
    `mean` is that of the others, None without any.
    """

    def __init__(
        self,
        policy: Path,
        rewards: Sequence[JobReward],
        *,
        tokens_per_batch: int,
        logs: Path,
        variables: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        interpreter: Interpreter | None = None,
    ) -> None:
        """`variables` are those of the policy's chat template; the texts `stop` end an answer. Programs run
        in `interpreter`, and what they print goes to files in `logs`.

        Raises EngineError if a reward model cannot score, ConfigError if a template is unusable.
        """
        self._policy = load_chat_format(policy, variables)
        self._thoughts = thoughts_of(self._policy)
        self._stops, self._stop_texts = frozenset(self._policy.stop_token_ids), stop
        self._raters: list[tuple[JobReward, Rater]] = [
            (
                each,
                ModelRater(each, tokens_per_batch=tokens_per_batch)
                if isinstance(each, ModelReward)
                else ProgramRater(each, logs, interpreter),
            )
            for each in rewards
        ]
        self.unscored, self.reasons = 0, Counter[str]()
        self._valued, self._sum = 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for _reward, rater in self._raters:
            rater.close()

    @property
    def scored_by_model(self) -> dict[str, int]:
        """The tokens that each reward model has read since the start, by its name."""
        return {r.name: rater.scored_tokens for r, rater in self._raters if isinstance(r, ModelReward)}

    @property
    def mean(self) -> float | None:
        return self._sum / self._valued if self._valued else None

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
        """The reward of each sample; None if its text or the value of a part cannot be used.

        Raises:
            EngineError: a program cannot be imported or called.
            TrainingError: so many samples have none that they share a problem.
        """
        answers = [
            RewardRequest(str(row), tuple(sample.messages), self.text(sample.token_ids), sample.fields)
            for row, sample in enumerate(samples)
        ]
        parts = [(reward, rater.rate(answers)) for reward, rater in self._raters]
        values: list[float | None] = []
        for row in range(len(samples)):
            found = self._combined([(reward, rated[row]) for reward, rated in parts])
            if isinstance(found, str):
                self.reasons[found] += 1
                self.unscored += 1
            else:
                self._valued, self._sum = self._valued + 1, self._sum + found
            values.append(None if isinstance(found, str) else found)
        self._check()
        return values

    def _combined(self, parts: Sequence[tuple[JobReward, Rated]]) -> Rated:
        total = 0.0
        for reward, rated in parts:
            if isinstance(rated, str):
                kind = failure_kind(rated)
                return kind if len(parts) == 1 else f"{reward.name}: {kind}"
            total += reward.factor * (rated - reward.mean)
        return "the value is too large for a number of 32 bits" if too_large(total) else total

    def _check(self) -> None:
        """Samples that a program cannot rate are no fault, however many there are."""
        faults = sum(n for kind, n in self.reasons.items() if not kind.endswith(CANNOT_SAY))
        rated = self._valued + self.unscored
        if hopeless(faults, rated) or (faults == rated and rated >= _SAMPLES_TO_JUDGE_BY):
            raise TrainingError(
                f"{faults:,} of the first {rated:,} samples have no reward: {self.why_unscored()}. Look at "
                "the reward, and at what the model writes."
            )

    def why_unscored(self) -> str:
        """The most frequent reasons of samples without a reward, with their counts."""
        return "; ".join(f"{n:,} × {kind}" for kind, n in self.reasons.most_common(_REASONS_SHOWN))

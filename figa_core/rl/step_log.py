"""What a trainer of TRL reports of each step, as lines of metrics.jsonl; and when its budget is spent."""

import math
import time
from array import array
from collections.abc import Mapping, Sequence
from typing import Protocol

from figa_core.errors import DivergedTrainingError
from figa_core.processes.memory import peak_rss_bytes
from figa_core.rl.budget import is_spent
from figa_core.rl.job import ALIKE, ENTROPY, GENERATED, KL, PEAK, REWARD, SCORED, UNSCORED, RlJob
from figa_core.training.metrics import StepMetrics, to_line


class Counting(Protocol):
    """What `rewards.Rewards` counts since the start."""

    unscored: int

    @property
    def scored_by_model(self) -> Mapping[str, int]: ...


class StepLog:
    """Counts the samples of the step under way, and writes a line when it is done.

    `generated` are the tokens since the start, `steps` the optimizer steps that were made.
    """

    def __init__(self, job: RlJob, rewards: Counting) -> None:
        self._job, self._rewards = job, rewards
        self._since = time.perf_counter()
        self._values: list[float] = []
        self._samples = self._sequence_tokens = self._generated = 0
        self._alike, self._rated = 0, self._counts()
        self.generated = self.steps = self.samples = self.alike = 0

    def sampled(
        self, prompt_lengths: Sequence[int], lengths: Sequence[int], values: Sequence[float | None]
    ) -> None:
        """Samples were drawn and scored: the tokens of their prompts, their own, and their rewards.

        Those of one prompt follow each other.
        """
        self._samples += len(lengths)
        self._generated += sum(lengths)
        self._sequence_tokens += sum(prompt_lengths) + sum(lengths)
        self._values += [value for value in values if value is not None]
        if self._job.samples_per_prompt > 1:
            self._alike += alike(values, self._job.samples_per_prompt)

    def write(
        self,
        *,
        loss: float,
        learning_rate: float,
        grad_norm: float | None,
        kl: float | None,
        entropy: float | None,
    ) -> None:
        """The step is done; `kl` and `entropy` are in nats per token.

        Raises:
            DivergedTrainingError: its figures are not finite.
        """
        if self._job.samples_per_prompt == 1 and not _differ(self._values):
            self._alike = self._samples
        self.steps += 1
        self.generated += self._generated
        self.samples += self._samples
        self.alike += self._alike
        named = {"loss": loss, "gradient's norm": grad_norm, "KL from the base": kl}
        if odd := [name for name, value in named.items() if value is not None and not math.isfinite(value)]:
            raise DivergedTrainingError(
                f"step {self.steps}: not a finite number: {', '.join(odd)}. Nothing is exported. Lower the "
                f"learning rate (now {learning_rate:g}), or raise kl_weight."
            )
        now, rated = time.perf_counter(), self._counts()
        metrics = StepMetrics(
            step=self.steps,
            loss=loss,
            counted=self._samples,
            tokens=self._sequence_tokens,
            pairs=self._samples,
            seconds=now - self._since,
            learning_rate=learning_rate,
            grad_norm=grad_norm,
            figures={
                REWARD.name: sum(self._values) / len(self._values) if self._values else None,
                KL.name: kl,
                ENTROPY.name: entropy,
                GENERATED: self._generated,
                **{name: count - self._rated[name] for name, count in rated.items()},
                ALIKE: self._alike,
                PEAK: peak_rss_bytes(),
            },
        )
        with self._job.metrics_path.open("a", encoding="utf-8") as file:
            file.write(to_line(metrics))
        self._since, self._values = now, []
        self._samples = self._sequence_tokens = self._generated = self._alike = 0
        self._rated = rated

    def _counts(self) -> dict[str, int]:
        """What the rewards have counted since the start, by the figures' names."""
        read = self._rewards.scored_by_model
        each = {self._job.scored_by(model): read[model.name] for model in self._job.reward_models}
        return {SCORED: sum(read.values()), **each, UNSCORED: self._rewards.unscored}

    @property
    def mean_sample(self) -> float:
        """The tokens of a mean sample of the step under way."""
        return self._generated / max(self._samples, 1)

    @property
    def is_spent(self) -> bool:
        """Whether the training is over."""
        return is_spent(self._job.token_budget, self.generated, self.steps)


def alike(values: Sequence[float | None], of_prompt: int) -> int:
    """How many samples are in groups of `of_prompt` that have no two different rewards."""
    groups = [values[start : start + of_prompt] for start in range(0, len(values), of_prompt)]
    return sum(len(group) for group in groups if not _differ([v for v in group if v is not None]))


def _differ(values: Sequence[float]) -> bool:
    """Whether there are two that are different for TRL, which has them in 32 bits."""
    return len(set(array("f", values))) > 1

"""What a trainer of TRL reports of each step, as lines of metrics.jsonl; and when its budget is spent."""

import math
import time
from collections.abc import Sequence
from typing import Protocol

from figa_core.errors import DivergedTrainingError
from figa_core.processes.memory import peak_rss_bytes
from figa_core.rl.budget import is_spent
from figa_core.rl.job import ENTROPY, GENERATED, KL, PEAK, REWARD, SCORED, UNSCORED, RlJob
from figa_core.training.metrics import StepMetrics, to_line


class Counting(Protocol):
    """What `rewards.Rewards` counts since the start."""

    scored_tokens: int
    unscored: int


class StepLog:
    """Counts the samples of the step under way, and writes a line when it is done.

    `generated` are the tokens since the start, `steps` the optimizer steps that were made.
    """

    def __init__(self, job: RlJob, rewards: Counting) -> None:
        self._job, self._rewards = job, rewards
        self._since = time.perf_counter()
        self._values: list[float] = []
        self._samples = self._sequence_tokens = self._generated = 0
        self._scored = self._unscored = 0
        self.generated = self.steps = 0

    def sampled(
        self, prompt_lengths: Sequence[int], lengths: Sequence[int], values: Sequence[float | None]
    ) -> None:
        """Samples were drawn and scored: the tokens of their prompts, their own, and their rewards."""
        self._samples += len(lengths)
        self._generated += sum(lengths)
        self._sequence_tokens += sum(prompt_lengths) + sum(lengths)
        self._values += [value for value in values if value is not None]

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
        self.steps += 1
        self.generated += self._generated
        named = {"loss": loss, "gradient's norm": grad_norm, "KL from the base": kl}
        if odd := [name for name, value in named.items() if value is not None and not math.isfinite(value)]:
            raise DivergedTrainingError(
                f"step {self.steps}: not a finite number: {', '.join(odd)}. Nothing is exported. Lower the "
                f"learning rate (now {learning_rate:g}), or raise kl_weight."
            )
        now = time.perf_counter()
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
                SCORED: self._rewards.scored_tokens - self._scored,
                UNSCORED: self._rewards.unscored - self._unscored,
                PEAK: peak_rss_bytes(),
            },
        )
        with self._job.metrics_path.open("a", encoding="utf-8") as file:
            file.write(to_line(metrics))
        self._since, self._values = now, []
        self._samples = self._sequence_tokens = self._generated = 0
        self._scored, self._unscored = self._rewards.scored_tokens, self._rewards.unscored

    @property
    def mean_sample(self) -> float:
        """The tokens of a mean sample of the step under way."""
        return self._generated / max(self._samples, 1)

    @property
    def is_spent(self) -> bool:
        """Whether the training is over."""
        return is_spent(self._job.token_budget, self.generated, self.steps)

"""Whether a trained model may replace its base: one rule on paired differences over held-out prompts.

The judge is the verifier if there is one, because it had no part in the training; otherwise the reward. A
model is worse if the 95 % interval of its difference to the base lies below zero, and better if it lies
above. The verdict is about the model: how its training and its run ended does not enter.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from figa_core.evaluation.statistics import Estimate

Judge = Literal["verifier", "reward"]

UNITS: dict[Judge, str] = {"verifier": "points of 100", "reward": "reward"}


class Outcome(StrEnum):
    """What a comparison of a model with its base shows."""

    WORSE = "worse"
    BETTER = "better"
    NO_DIFFERENCE = "no difference shown"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, and what it rests on.

    `change` is model − base by `judge`, in its unit (`UNITS`); None if nothing was compared.
    `over_optimised`: better by the reward and worse by the verifier. `same_model`: the weights are equal.
    """

    outcome: Outcome
    judge: Judge | None = None
    change: Estimate | None = None
    over_optimised: bool = False
    same_model: bool = False

    @property
    def do_not_use(self) -> bool:
        """Whether the base model should be kept instead."""
        return self.outcome is Outcome.WORSE

    def as_json(self) -> dict[str, Any]:
        """For programs: the outcome, its judge and the difference with its interval; None where unknown."""
        change = self.change
        interval = change.interval if change is not None else None
        return {
            "verdict": self.outcome.value,
            "do_not_use": self.do_not_use,
            "judge": self.judge,
            "unit": None if self.judge is None else UNITS[self.judge],
            "difference": None if change is None else change.mean,
            "interval_95": None if interval is None else list(interval),
            "prompts": 0 if change is None else change.n,
            "over_optimised": self.over_optimised,
            "same_model": self.same_model,
        }


NOT_JUDGED = Verdict(Outcome.NOT_JUDGED)


def verdict(verifier: Estimate | None, reward: Estimate | None, *, same_model: bool = False) -> Verdict:
    """The verdict on a model, from its paired differences to the base (model − base) on common prompts.

    Args:
        verifier: the difference by the verifier; None if there is no verifier. If it has fewer than two
            common prompts, the model is not judged: the reward does not replace it.
        reward: the difference by the reward; None if nothing was scored.
        same_model: the weights are known to be equal, so that a difference would be chance.
    """
    judge: Judge = "reward" if verifier is None else "verifier"
    change = reward if verifier is None else verifier
    if same_model:
        return Verdict(Outcome.NO_DIFFERENCE, judge, change, same_model=True)
    outcome = _outcome(change)
    if change is None:
        return Verdict(outcome)
    over_optimised = verifier is not None and outcome is Outcome.WORSE and _outcome(reward) is Outcome.BETTER
    return Verdict(outcome, judge, change, over_optimised)


def _outcome(change: Estimate | None) -> Outcome:
    interval = None if change is None else change.interval
    if interval is None:
        return Outcome.NOT_JUDGED
    low, high = interval
    if high < 0:
        return Outcome.WORSE
    return Outcome.BETTER if low > 0 else Outcome.NO_DIFFERENCE

"""Differences between trained models, corrected for how many of them are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from figa_core.evaluation.crossed import CrossedEstimate
from figa_core.evaluation.multiple import LEVEL, holm, simultaneous_confidence


@dataclass(frozen=True, slots=True)
class Contrast:
    """`one` − `other`, on the same prompts and seeds.

    `interval` is simultaneous: all contrasts of a report are in theirs at once in 95 % of all cases.
    `p_adjusted` is Holm's. Both are None before `corrected`, and without an interval.
    """

    one: str
    other: str
    change: CrossedEstimate
    interval: tuple[float, float] | None = None
    p_adjusted: float | None = None

    @property
    def told_apart(self) -> bool:
        """Whether chance alone does not explain the difference, whatever else was compared."""
        return self.p_adjusted is not None and self.p_adjusted < LEVEL


_C = TypeVar("_C", bound=Contrast)


def corrected(contrasts: Sequence[_C]) -> list[_C]:
    """All contrasts of a report, with their simultaneous intervals and adjusted p-values."""
    tested = [each for each in contrasts if each.change.p_value is not None]
    adjusted = dict(zip(map(id, tested), holm([each.change.p_value or 0.0 for each in tested]), strict=True))
    confidence = simultaneous_confidence(len(tested))
    return [
        replace(each, interval=each.change.interval(confidence), p_adjusted=adjusted.get(id(each)))
        for each in contrasts
    ]

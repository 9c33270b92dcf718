"""Several rewards as one: each is brought to one scale, and their weighted mean is taken. Pure.

With values v_i, and mean m_i and standard deviation d_i over the run's own responses Ŷ, the reward of a text
is Σ w_i · (v_i − m_i) / d_i, over Σ |w_i|. So it is in standard deviations: 0 is a usual response of the run.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_FLAT = 1e-9


@dataclass(frozen=True, slots=True)
class Scale:
    """The mean and the standard deviation of a scorer's `n` values for the run's responses."""

    part_id: str
    mean: float
    deviation: float
    n: int

    @property
    def is_finite(self) -> bool:
        """Whether the values are small enough to have a mean and a deviation."""
        return math.isfinite(self.mean) and math.isfinite(self.deviation)

    @property
    def is_flat(self) -> bool:
        """Whether all values are the same, up to rounding: then differences to them have no scale."""
        return self.deviation <= _FLAT * max(1.0, abs(self.mean))

    @property
    def unit(self) -> float:
        """What differences are divided by: 1 if there is no deviation, so that a difference still counts."""
        return 1.0 if self.is_flat else self.deviation


@dataclass(frozen=True, slots=True)
class Term:
    """What one scorer adds: `factor` · (value − `mean`). `name` is the reward's."""

    name: str
    part_id: str
    mean: float
    factor: float


def terms_of(scales: Sequence[Scale], names: Mapping[str, str], weights: Mapping[str, float]) -> list[Term]:
    """The terms of the sum; names and weights (not 0) by part id."""
    total = sum(map(abs, weights.values()))
    return [
        Term(names[scale.part_id], scale.part_id, scale.mean, weights[scale.part_id] / (scale.unit * total))
        for scale in scales
    ]

"""The mean of values over prompts × seeds, with an interval that covers both.

Several trainings of one method, which differ in their seed, are judged on the same prompts. A value is
y_ps = μ + a_p + b_s + e_ps: a prompt may be hard for every training, a training may be bad at every prompt.
Neither P · S independent values nor the mean over seeds alone would give the right uncertainty of μ, so both
effects are random and crossed. With the mean squares of the two-way table (one value a cell),

    Var(ȳ) = (MS_prompts + MS_seeds − MS_rest) / (P · S)

is estimated without bias, and Student's interval has Satterthwaite's degrees of freedom. A component that
comes out negative counts as zero. Two methods are compared by the table of their differences, where what is
hard for both cancels out.

Sources: Searle, Casella & McCulloch, Variance Components (1992), chapter 4; Satterthwaite (1946), Biometrics
Bulletin 2(6); Brennan, Generalizability Theory (2001), chapter 6, for confidence intervals.

Shapes: P prompts, S seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from figa_core.errors import EvaluationError
from figa_core.evaluation.student import two_sided_p, two_sided_quantile

SeedValues = Mapping[int, Mapping[str, float]]
"""Seed → prompt id → value."""
UNTRAINED = -1
"""The seed of a model that was not trained."""


@dataclass(frozen=True, slots=True)
class CrossedEstimate:
    """A mean over prompts and seeds, in the units of the values.

    `mean` is None without a value. `standard_error` and `degrees` are None for fewer than two prompts. With
    one seed they cover the prompts only. `left_out` counts the prompts that some seed has no value for.
    """

    mean: float | None
    standard_error: float | None
    degrees: float | None
    prompts: int
    seeds: int
    left_out: int = 0

    @property
    def covers_seeds(self) -> bool:
        """Whether the interval says how another training of the same method would turn out."""
        return self.seeds > 1

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """The confidence interval of the mean, or None without a standard error."""
        if self.mean is None or self.standard_error is None or self.degrees is None:
            return None
        half = two_sided_quantile(confidence, self.degrees) * self.standard_error
        return (self.mean - half, self.mean + half)

    @property
    def p_value(self) -> float | None:
        """Two-sided, for a mean of zero; None without a standard error."""
        if self.mean is None or self.standard_error is None or self.degrees is None:
            return None
        if self.standard_error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return two_sided_p(self.mean / self.standard_error, self.degrees)


def crossed_estimate(values_PS: npt.NDArray[np.float64], *, left_out: int = 0) -> CrossedEstimate:
    """The mean of a table of one value for each prompt and seed.

    Raises:
        EvaluationError: a value is NaN or infinite.
    """
    prompts, seeds = values_PS.shape
    if not values_PS.size:
        return CrossedEstimate(None, None, None, prompts, seeds, left_out)
    if not np.isfinite(values_PS).all():
        raise EvaluationError(
            f"{int((~np.isfinite(values_PS)).sum())} of {values_PS.size} values are not finite numbers; a "
            "mean needs them. Leave out the prompts and record why, or score them again."
        )
    mean = float(values_PS.mean())
    if prompts < 2:
        return CrossedEstimate(mean, None, None, prompts, seeds, left_out)
    variance, degrees = _variance_of_mean(values_PS, mean)
    return CrossedEstimate(mean, math.sqrt(variance), degrees, prompts, seeds, left_out)


def _variance_of_mean(values_PS: npt.NDArray[np.float64], mean: float) -> tuple[float, float]:
    """Var(ȳ) and its degrees of freedom."""
    prompts, seeds = values_PS.shape
    by_prompt_P, by_seed_S = values_PS.mean(axis=1), values_PS.mean(axis=0)
    square_prompts = seeds * float(((by_prompt_P - mean) ** 2).sum()) / (prompts - 1)
    if seeds == 1:
        return square_prompts / prompts, float(prompts - 1)
    square_seeds = prompts * float(((by_seed_S - mean) ** 2).sum()) / (seeds - 1)
    rest_PS = values_PS - by_prompt_P[:, None] - by_seed_S[None, :] + mean
    rest_degrees = (prompts - 1) * (seeds - 1)
    square_rest = float((rest_PS**2).sum()) / rest_degrees
    # A negative component counts as zero: then its mean square and that of the rest estimate the same.
    terms = [(square_prompts, prompts - 1)]
    if square_seeds > square_rest:
        terms = [(square_seeds, seeds - 1)]
        if square_prompts > square_rest:
            terms += [(square_prompts, prompts - 1), (-square_rest, rest_degrees)]
    total = sum(square for square, _ in terms)
    uncertain = sum(square * square / degrees for square, degrees in terms)
    degrees = total * total / uncertain if uncertain > 0 else float(rest_degrees)
    return total / (prompts * seeds), degrees


def crossed(values: SeedValues) -> CrossedEstimate:
    """The mean over the prompts that have a value in every seed."""
    seeds = sorted(values)
    prompts = _common([values[seed] for seed in seeds])
    every = {prompt for seed in seeds for prompt in values[seed]}
    return crossed_estimate(_table(values, seeds, prompts), left_out=len(every) - len(prompts))


def crossed_difference(before: SeedValues, after: SeedValues) -> CrossedEstimate:
    """The mean of after − before over the prompts and seeds of both.

    A model that was not trained has a single entry and no seed of its own: it is compared with each seed of
    the other.
    """
    one, other = _broadcast(before, after), _broadcast(after, before)
    seeds = sorted(one.keys() & other.keys())
    prompts = _common([*(one[seed] for seed in seeds), *(other[seed] for seed in seeds)])
    every = {prompt for side in (one, other) for seed in seeds for prompt in side[seed]}
    table_PS = _table(other, seeds, prompts) - _table(one, seeds, prompts)
    return crossed_estimate(table_PS, left_out=len(every) - len(prompts))


def _broadcast(values: SeedValues, other: SeedValues) -> SeedValues:
    return dict.fromkeys(other, values[UNTRAINED]) if UNTRAINED in values else values


def _table(values: SeedValues, seeds: Sequence[int], prompts: Sequence[str]) -> npt.NDArray[np.float64]:
    rows = [[values[seed][prompt] for seed in seeds] for prompt in prompts]
    return np.array(rows, dtype=np.float64).reshape(len(prompts), len(seeds))


def _common(values: Sequence[Mapping[str, float]]) -> list[str]:
    """The prompts with a value in each, sorted: sums do not depend on the order of the input."""
    return sorted(set.intersection(*(set(each) for each in values))) if values else []

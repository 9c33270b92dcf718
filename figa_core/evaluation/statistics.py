"""Means with their uncertainty, and differences of two models on the same prompts.

The interval of a mean is Student's: mean ± t(0.975, n − 1) · s / √n, with s the sample standard deviation
(divisor n − 1). Two models are compared on the same prompts, so their interval is that of the differences:
how hard a prompt is for both cancels out.

n = 0 has neither mean nor standard error, n = 1 has no standard error: they are None, not NaN. Sources:
Student (1908); Abramowitz & Stegun (A&S), Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from figa_core.errors import EvaluationError

_BISECTIONS = 80
_KEYS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of n values and its standard error, in the units of the values.

    `mean` is None for n = 0; `standard_error` is None for n < 2.
    """

    mean: float | None
    standard_error: float | None
    n: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the mean, or None for n < 2."""
        if self.mean is None or self.standard_error is None:
            return None
        half = student_t_quantile(0.975, self.n - 1) * self.standard_error
        return (self.mean - half, self.mean + half)

    @property
    def excludes_zero(self) -> bool:
        """Whether there is a 95 % interval that does not contain zero."""
        interval = self.interval
        return interval is not None and (interval[0] > 0 or interval[1] < 0)

    def less(self, value: float) -> "Estimate":
        """The estimate for the values less this one."""
        mean = None if self.mean is None else self.mean - value
        return Estimate(mean=mean, standard_error=self.standard_error, n=self.n)

    def scaled(self, factor: float) -> "Estimate":
        """The estimate for the values times `factor`, such as shares shown as percentage points."""
        mean = None if self.mean is None else self.mean * factor
        error = None if self.standard_error is None else self.standard_error * abs(factor)
        return Estimate(mean=mean, standard_error=error, n=self.n)


def estimate(values: Iterable[float]) -> Estimate:
    """Mean and standard error (s / √n) of `values`.

    Raises:
        EvaluationError: a value is NaN or infinite; one such value would hide all others.
    """
    numbers = [float(value) for value in values]
    for position, number in enumerate(numbers):
        if not math.isfinite(number):
            raise EvaluationError(
                f"value {position} of {len(numbers)} is {number}; a mean needs finite numbers. "
                "Leave out the row and record why, or score it again."
            )
    n = len(numbers)
    if n == 0:
        return Estimate(mean=None, standard_error=None, n=0)
    mean = math.fsum(numbers) / n
    if n == 1:
        return Estimate(mean=mean, standard_error=None, n=1)
    squares = math.fsum((number - mean) ** 2 for number in numbers)
    return Estimate(mean=mean, standard_error=math.sqrt(squares / (n - 1) / n), n=n)


def paired_difference(before: Mapping[str, float], after: Mapping[str, float]) -> Estimate:
    """The mean of after − before over prompts, keyed by prompt id.

    Raises:
        EvaluationError: the prompts differ, or a value is not finite.
    """
    if before.keys() != after.keys():
        raise EvaluationError(
            "a paired difference needs scores of the same prompts: "
            f"{_named(before.keys() - after.keys(), 'before')}, "
            f"{_named(after.keys() - before.keys(), 'after')}. "
            "Evaluate both models on the same held-out prompts, or restrict both to the common ones."
        )
    return estimate(after[key] - before[key] for key in before)


def _named(keys: set[str], where: str) -> str:
    first = sorted(keys)[:_KEYS_NAMED]
    more = ", …" if len(keys) > len(first) else ""
    return f"{len(keys)} only in {where}" + (f" ({', '.join(first)}{more})" if first else "")


@lru_cache(maxsize=1024)
def student_t_quantile(probability: float, degrees: int) -> float:
    """The `probability` quantile of Student's t distribution with `degrees` of freedom, exact to rounding.

    Raises:
        ValueError: `probability` is not strictly between 0 and 1, or `degrees` is below 1.
    """
    if not 0 < probability < 1 or degrees < 1:
        raise ValueError(f"need 0 < probability < 1 and degrees >= 1, got {probability} and {degrees}")
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    low, high = 0.0, math.pi / 2  # of θ = atan(t / √ν), because t itself has no upper bound
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _central_probability(middle, degrees) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _central_probability(theta: float, degrees: int) -> float:
    """P(|T| ≤ √ν tan θ): A&S 26.7.3 for odd degrees of freedom ν, 26.7.4 for even ones."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    power = cosine if odd else 1.0
    total, first = 0.0, 2 if odd else 1
    for step in range((degrees - odd) // 2):
        total += power
        power *= cosine * cosine * (first + 2 * step) / (first + 2 * step + 1)
    if odd:
        return 2 / math.pi * (theta + sine * total)
    return sine * total

"""Means with their uncertainty, and differences of two models on the same prompts.

The interval of a mean is Student's: mean ± t(0.975, n − 1) · s / √n, with s the sample standard deviation
(divisor n − 1). Two models are compared on the same prompts, so the interval is that of the differences:
what makes a prompt easy for both drops out.

Few rows have no interval, and say so instead of showing a NaN: n = 0 has neither mean nor standard error
(both None), n = 1 has a mean and no standard error. Sources: Student (1908); the quantile follows
Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.3, 26.7.4 and 26.7.5.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from figa_core.errors import EvaluationError

CONFIDENCE = 0.95

# From here on four terms of the asymptotic series are within 1e-9 of the exact quantile.
_SERIES_FROM_DEGREES = 200
_BISECTIONS = 80
_KEYS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, its standard error and the number of values behind it.

    `mean` is None for n = 0; `standard_error` is None for n < 2. Units are those of the values.
    """

    mean: float | None
    standard_error: float | None
    n: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the mean, or None for n < 2."""
        if self.mean is None or self.standard_error is None:
            return None
        half = student_t_quantile(0.5 + CONFIDENCE / 2, self.n - 1) * self.standard_error
        return (self.mean - half, self.mean + half)

    @property
    def excludes_zero(self) -> bool:
        """Whether the 95 % interval exists and leaves zero out."""
        interval = self.interval
        return interval is not None and (interval[0] > 0 or interval[1] < 0)

    def scaled(self, factor: float) -> "Estimate":
        """The estimate of `factor` times the values, such as shares shown as points of 100."""
        mean = None if self.mean is None else self.mean * factor
        error = None if self.standard_error is None else self.standard_error * abs(factor)
        return Estimate(mean=mean, standard_error=error, n=self.n)


def estimate(values: Iterable[float]) -> Estimate:
    """Mean and standard error (s / √n, divisor n − 1) of `values`; n = 0 and 1 as the module says.

    Raises:
        EvaluationError: a value is NaN or infinite; one such value would hide all others.
    """
    numbers = [float(value) for value in values]
    for position, number in enumerate(numbers):
        if not math.isfinite(number):
            raise EvaluationError(
                f"value {position} of {len(numbers)} is {number}; a mean needs finite numbers. "
                "Leave the row out and record why, or score it again."
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
        EvaluationError: the two hold different prompts, or a value is not finite.
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
    """The value below which a Student t variable with `degrees` of freedom lies with `probability`.

    Exact (to rounding) below 200 degrees of freedom, A&S 26.7.5 from there on.

    Raises:
        ValueError: `probability` is not strictly between 0 and 1, or `degrees` is below 1.
    """
    if not 0 < probability < 1 or degrees < 1:
        raise ValueError(f"need 0 < probability < 1 and degrees >= 1, got {probability} and {degrees}")
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    if degrees >= _SERIES_FROM_DEGREES:
        return _quantile_by_series(probability, degrees)
    return _quantile_by_bisection(2 * probability - 1, degrees)


def _quantile_by_series(probability: float, degrees: int) -> float:
    """A&S 26.7.5: an expansion around the normal quantile in powers of 1 / degrees."""
    x = NormalDist().inv_cdf(probability)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + sum(term / degrees**power for power, term in enumerate(terms, start=1))


def _quantile_by_bisection(central: float, degrees: int) -> float:
    """Bisect on θ = atan(t / √ν), which turns the infinite range of t into (0, π/2)."""
    low, high = 0.0, math.pi / 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _central_probability(middle, degrees) < central:
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

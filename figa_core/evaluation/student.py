"""Student's t distribution with any number of degrees of freedom, which need not be an integer.

P(|T| > |t|) = I_x(ν/2, 1/2) with x = ν / (ν + t²), the regularized incomplete beta function (Abramowitz &
Stegun 26.7.1). It is computed from its continued fraction (DLMF 8.17.22) by the modified Lentz method.
"""

import math
from functools import lru_cache

_TERMS = 400
_ROUNDING = 1e-15
_TINY = 1e-300
_BISECTIONS = 100


def two_sided_p(statistic: float, degrees: float) -> float:
    """P(|T| > |statistic|) with `degrees` > 0 degrees of freedom; exact to about 1e-12."""
    if degrees <= 0:
        raise ValueError(f"need degrees > 0, got {degrees}")
    if math.isinf(statistic):
        return 0.0
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + statistic * statistic))


@lru_cache(maxsize=4096)
def two_sided_quantile(confidence: float, degrees: float) -> float:
    """The t for which P(|T| ≤ t) is `confidence`, strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"need 0 < confidence < 1, got {confidence}")
    low, high = 0.0, math.pi / 2  # of atan(t / √ν), because t itself has no upper bound
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if two_sided_p(math.sqrt(degrees) * math.tan(middle), degrees) > 1 - confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):  # there the fraction converges fast for the other tail
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / a
    return min(1.0, front * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    """1 / (1 + d₁ / (1 + d₂ / …)), DLMF 8.17.22."""
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _nonzero(1 + term * d)
            c = _nonzero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _ROUNDING:
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY

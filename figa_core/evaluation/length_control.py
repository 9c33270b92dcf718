"""The win rate if the answers of two models were equally long.

A simple form of AlpacaEval 2's length control (Dubois et al. 2024, arXiv 2404.04475). The preference p for
the other model's answer follows a logistic regression on the difference of lengths d (in characters),

    p = σ(θ + φ · tanh(d / s)),    s: the standard deviation of d,

and the length-controlled win rate is σ(θ): what is left at d = 0. Their third term, the difficulty of an
instruction, needs many models on the same prompts and is left out. θ and φ are those of the greatest
quasi-likelihood (p may be a fraction, Papke & Wooldridge 1996), by Newton's method, with a weak penalty on φ
(0.5 · φ²/10²), which they have too. The interval is σ(θ ± 1.96 · e), e by the sandwich estimator, because a
preference of 0.5 varies less than a coin.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PROMPTS_MIN = 50
"""Of prompts; and of each sign of the difference a fifth of it: σ(θ) must not be an extrapolation."""

_PENALTY = 1 / 10**2
_STEPS = 50
_NORMAL_975 = 1.959964


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """The win rate at equal lengths and its 95 % interval, from 0 to 1, over `n` prompts."""

    win_rate: float
    interval: tuple[float, float]
    n: int


def length_controlled(rows: Sequence[tuple[int, float]]) -> LengthControlled | str:
    """Fit rows of (characters of the other answer − of the one, preference for the other from 0 to 1).

    Returns:
        The figures, or in words why the sample does not give any.
    """
    if why := _too_little(rows):
        return why
    lengths, preferences = np.array(rows, dtype=float).T
    design = np.column_stack([np.ones(len(rows)), np.tanh(lengths / lengths.std())])
    fitted = _fit(design, preferences)
    if fitted is None:
        return "the fit did not converge"
    theta, error = fitted
    low, middle, high = (
        float(_logistic(np.array(theta + shift * error))) for shift in (-_NORMAL_975, 0.0, _NORMAL_975)
    )
    return LengthControlled(middle, (low, high), len(rows))


def _too_little(rows: Sequence[tuple[int, float]]) -> str:
    if len(rows) < PROMPTS_MIN:
        return f"it needs {PROMPTS_MIN} prompts with the judge's answer, and there are {len(rows)}"
    longer, shorter = sum(length > 0 for length, _ in rows), sum(length < 0 for length, _ in rows)
    if min(longer, shorter) < PROMPTS_MIN // 5:
        return (
            f"one model's answers are almost always longer ({longer:,} of {len(rows):,} are longer, "
            f"{shorter:,} shorter), so nothing says what the judge thinks of equal lengths"
        )
    if not min(p for _, p in rows) < 0.5 < max(p for _, p in rows):
        return "the judge never preferred one of the models"
    return ""


def _fit(design: np.ndarray, preferences: np.ndarray) -> tuple[float, float] | None:
    """θ and its standard error; None if Newton's method does not converge."""
    weights, penalty = np.zeros(2), np.diag([0.0, _PENALTY])
    for _ in range(_STEPS):
        expected = _logistic(design @ weights)
        gradient = design.T @ (preferences - expected) - penalty @ weights
        bread = (design * (expected * (1 - expected))[:, None]).T @ design + penalty
        if not np.isfinite(bread).all() or np.linalg.cond(bread) > 1e12:
            return None
        step = np.linalg.solve(bread, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            scores = design * (preferences - _logistic(design @ weights))[:, None]
            inverse = np.linalg.inv(bread)
            variance = inverse @ (scores.T @ scores) @ inverse
            return float(weights[0]), float(np.sqrt(variance[0, 0]))
    return None


def _logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -500, 500)))

"""The same tasks asked of two models: scores beside each other, and their difference.

If both models' scores are means over the same questions, the difference is that of each question (how hard a
question is cancels out), with Student's interval. For other scores (a ratio over several questions, a mean
over groups of tasks) only lm-eval's two standard errors are known: √(s₁² + s₂²), which is too wide where the
models err on the same questions.
"""

import math
from dataclasses import dataclass

from figa_core.evaluation.statistics import Estimate, paired_difference
from figa_core.harness.results import BenchmarkScore


@dataclass(frozen=True, slots=True)
class ScoreDifference:
    """after − before, in the score's unit; `paired`: question by question."""

    change: Estimate
    paired: bool


def score_difference(before: BenchmarkScore, after: BenchmarkScore) -> ScoreDifference:
    """Compare two models by one figure of one task."""
    if before.questions and set(before.questions) == set(after.questions):
        one, other = (dict(zip(s.questions, s.values, strict=True)) for s in (before, after))
        return ScoreDifference(paired_difference(one, other), paired=True)
    errors = (before.standard_error, after.standard_error)
    error = None if None in errors else math.hypot(*(e for e in errors if e is not None))
    change = Estimate(after.value - before.value, error, min(before.n, after.n))
    return ScoreDifference(change, paired=False)

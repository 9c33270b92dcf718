"""Several comparisons at once: by chance alone, one of twenty true nulls has p < 0.05.

Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics
6(2): valid whatever the comparisons have to do with each other, and never less powerful than Bonferroni's
correction. An interval of level 1 − 0.05 / m (Bonferroni) for each of m comparisons covers all m true
differences at once in at least 95 % of all cases; it is at most wider than Holm's decision needs.
"""

from collections.abc import Sequence

LEVEL = 0.05


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: a comparison is significant where one is below LEVEL."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def simultaneous_confidence(comparisons: int) -> float:
    """The level of each interval so that all together have at least 1 − LEVEL (Bonferroni)."""
    return 1 - LEVEL / max(comparisons, 1)

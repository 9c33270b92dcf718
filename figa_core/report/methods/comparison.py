"""The statistics of a comparison of methods: each row's mean, and every two rows' difference.

Differences are over the same prompts and seeds (`evaluation/crossed.py`), and corrected for the number of
comparisons that the report shows (`evaluation/contrast.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean, stdev

from figa_core.evaluation.contrast import Contrast, corrected
from figa_core.evaluation.crossed import CrossedEstimate, SeedValues, crossed, crossed_difference
from figa_core.report.methods.data import MethodOutcome, MethodsData, TrainingOutcome, judged

BASE = "base"


@dataclass(frozen=True, slots=True)
class MethodContrast(Contrast):
    """A difference of two methods that were trained on `pairs` pairs (or `other` is the base model)."""

    pairs: int = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Row:
    """A method at one number of pairs, its mean, and its difference to the base model."""

    method: MethodOutcome
    estimate: CrossedEstimate
    to_base: MethodContrast | None


@dataclass(frozen=True, slots=True)
class MethodsComparison:
    """`rows` as in the data; `contrasts` without those to the base; `comparisons` counts
    all that were tested."""

    base: CrossedEstimate
    rows: tuple[Row, ...]
    contrasts: tuple[MethodContrast, ...]
    comparisons: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of pairs with a judged method, ascending."""
        return tuple(sorted({row.method.pairs for row in self.rows if row.estimate.mean is not None}))

    def at(self, pairs: int) -> tuple[Row, ...]:
        """The judged rows at one number of pairs, the best first."""
        rows = [row for row in self.rows if row.method.pairs == pairs and row.estimate.mean is not None]
        return tuple(sorted(rows, key=lambda row: -(row.estimate.mean or 0.0)))

    def between(self, one: str, other: str, pairs: int) -> MethodContrast | None:
        """`one` − `other`, whichever way round it was computed."""
        for each in self.contrasts:
            if each.pairs == pairs and {each.one, each.other} == {one, other}:
                return each if each.one == one else _turned(each)
        return None


def estimate_methods(data: MethodsData) -> MethodsComparison:
    """Estimate every row and every contrast; equal data gives equal results."""
    methods = [method for method in data.methods if method.values]
    found = [
        *(_contrast(method, BASE, data.base_values) for method in methods),
        *(_contrast(one, other.name, other.values) for one, other in _pairs(methods, data)),
    ]
    contrasts = corrected(found)
    to_base = {(each.one, each.pairs): each for each in contrasts if each.other == BASE}
    rows = tuple(
        Row(method, crossed(method.values), to_base.get((method.name, method.pairs)))
        for method in data.methods
    )
    between = tuple(each for each in contrasts if each.other != BASE)
    tested = sum(each.p_adjusted is not None for each in contrasts)
    return MethodsComparison(crossed(data.base_values), rows, between, tested)


def below_base(data: MethodsData, method: MethodOutcome) -> list[TrainingOutcome]:
    """The trainings of its sweep, chosen or not, whose model is worse than the base.

    By the 95 % interval over the judging prompts of each alone: it is a warning, and decides nothing.
    """
    found = []
    for each in judged(method.trainings):
        interval = crossed_difference(data.base_values, {each.seed: each.judged}).interval()
        if interval is not None and interval[1] < 0:
            found.append(each)
    return found


def spread_over_seeds(method: MethodOutcome) -> float | None:
    """The standard deviation of the chosen trainings' mean scores; None for fewer than two."""
    means = [fmean(each.judged.values()) for each in method.chosen if each.judged]
    return stdev(means) if len(means) > 1 else None


def by_type(data: MethodsData, pairs: int) -> dict[str, dict[str, CrossedEstimate]]:
    """Prompt type → method (and base) → its mean on the judging prompts of that type, at one size."""
    found: dict[str, dict[str, CrossedEstimate]] = {}
    for kind in sorted(set(data.types.values())):
        rows = {BASE: data.base_values}
        rows |= {m.name: m.values for m in data.methods if m.pairs == pairs and m.values}
        estimates = {name: crossed(_of_type(values, kind, data)) for name, values in rows.items()}
        if any(estimate.prompts for estimate in estimates.values()):
            found[kind] = estimates
    return found


def _of_type(values: SeedValues, kind: str, data: MethodsData) -> SeedValues:
    return {
        seed: {prompt: value for prompt, value in of_seed.items() if data.types.get(prompt) == kind}
        for seed, of_seed in values.items()
    }


def _pairs(
    methods: Sequence[MethodOutcome], data: MethodsData
) -> Iterator[tuple[MethodOutcome, MethodOutcome]]:
    first = data.methods[0].name if data.methods else ""
    for one, other in combinations(methods, 2):
        if one.pairs == other.pairs and (data.against == "all" or first in (one.name, other.name)):
            yield one, other


def _contrast(one: MethodOutcome, name: str, values: SeedValues) -> MethodContrast:
    return MethodContrast(one.name, name, crossed_difference(values, one.values), pairs=one.pairs)


def _turned(contrast: MethodContrast) -> MethodContrast:
    change, interval = contrast.change, contrast.interval
    return replace(
        contrast,
        one=contrast.other,
        other=contrast.one,
        change=replace(change, mean=None if change.mean is None else -change.mean),
        interval=None if interval is None else (-interval[1], -interval[0]),
    )

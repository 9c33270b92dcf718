"""Statistics of the held-out scores: estimates of every model, paired differences, and their format.

Models are compared on the prompts for which both have a score; the others are counted and shown.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from figa_core.evaluation.statistics import Estimate, estimate, paired_difference
from figa_core.evaluation.verdict import NOT_JUDGED, Verdict, verdict
from figa_core.report.data import ModelScores, ReportData


class Metric(StrEnum):
    """The scores that models are judged by. Verifier scores are shares, shown as points of 100."""

    VERIFIER = "verifier"
    REWARD = "reward"

    @property
    def decimals(self) -> int:
        return 1 if self is Metric.VERIFIER else 2

    @property
    def label(self) -> str:
        """Its name with its unit."""
        return "verifier, of 100" if self is Metric.VERIFIER else "mean reward"


@dataclass(frozen=True, slots=True)
class Difference:
    """after − before on common prompts; `left_out` counts prompts that only one model has."""

    before: Estimate
    after: Estimate
    change: Estimate
    left_out: int


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of the table: its estimate and its difference to the base, by metric.

    `verdict` is None for the base itself.
    """

    label: str
    is_main: bool
    verdict: Verdict | None
    estimates: Mapping[Metric, Estimate]
    to_base: Mapping[Metric, Difference]


@dataclass(frozen=True, slots=True)
class VersusRow:
    """The main model against one baseline, by metric."""

    baseline: str
    differences: Mapping[Metric, Difference]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The before/after table: `metrics` are those with any score, the verifier first.

    `left_out` is the most prompts that a difference leaves out. `not_finite` counts scores that are NaN or
    infinite; they are in no mean, and the report shows their number.
    """

    metrics: tuple[Metric, ...]
    rows: tuple[ModelRow, ...]
    versus: tuple[VersusRow, ...]
    left_out: int
    not_finite: int


def scores_of(model: ModelScores, metric: Metric) -> Mapping[str, float]:
    """Prompt id → finite score in the unit in which it is shown."""
    if metric is Metric.REWARD:
        return {key: value for key, value in model.rewards.items() if math.isfinite(value)}
    return {key: 100.0 * value for key, value in model.verifier.items() if math.isfinite(value)}


def difference(before: ModelScores, after: ModelScores, metric: Metric) -> Difference:
    """Compare two models on their common prompts."""
    first, second = scores_of(before, metric), scores_of(after, metric)
    common = first.keys() & second.keys()
    first_common = {key: first[key] for key in first if key in common}
    second_common = {key: second[key] for key in first if key in common}
    return Difference(
        before=estimate(first_common.values()),
        after=estimate(second_common.values()),
        change=paired_difference(first_common, second_common),
        left_out=len(first.keys() | second.keys()) - len(common),
    )


def first_difference(before: ModelScores, after: ModelScores) -> tuple[Metric, Difference] | None:
    """The difference by the first metric for which the models have common prompts."""
    found = ((metric, difference(before, after, metric)) for metric in Metric)
    return next(((metric, each) for metric, each in found if each.change.n), None)


def spread_prompts(before: ModelScores, after: ModelScores, metric: Metric, count: int) -> list[str]:
    """`count` common prompts at evenly spaced ranks of after − before, the least and the largest included."""
    first, second = scores_of(before, metric), scores_of(after, metric)
    ranked = sorted(first.keys() & second.keys(), key=lambda key: (second[key] - first[key], key))
    last, steps = len(ranked) - 1, max(count - 1, 1)
    return [ranked[rank] for rank in dict.fromkeys(round(i * last / steps) for i in range(count)) if ranked]


@dataclass(frozen=True, slots=True)
class TypeRow:
    """What the main model changed for one type of prompt, by the judge."""

    type: str
    found: Difference


def by_type(data: ReportData) -> list[TypeRow]:
    """The main model against the base by type of prompt, the most prompts first; empty with one type only."""
    if data.base is None or data.main is None or (compared := first_difference(data.base, data.main)) is None:
        return []
    of_type: dict[str, list[str]] = {}
    for prompt in scores_of(data.base, compared[0]).keys() & scores_of(data.main, compared[0]).keys():
        if prompt in data.types:
            of_type.setdefault(data.types[prompt], []).append(prompt)
    rows = [
        TypeRow(name, difference(_only(data.base, prompts), _only(data.main, prompts), compared[0]))
        for name, prompts in sorted(of_type.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return rows if len(rows) > 1 else []


def _only(model: ModelScores, prompts: list[str]) -> ModelScores:
    """The model's scores on these prompts."""
    rewards = {key: model.rewards[key] for key in prompts if key in model.rewards}
    verifier = {key: model.verifier[key] for key in prompts if key in model.verifier}
    return replace(model, rewards=rewards, verifier=verifier)


def moved_prompts(before: ModelScores, after: ModelScores, metric: Metric) -> tuple[int, int, int]:
    """How many common prompts got better, stayed as they were, and got worse."""
    first, second = scores_of(before, metric), scores_of(after, metric)
    changes = [second[key] - first[key] for key in first.keys() & second.keys()]
    better, worse = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    return better, len(changes) - better - worse, worse


def verdict_on(base: ModelScores | None, model: ModelScores) -> Verdict:
    """The verdict on a model by its scores and the base's; not judged without a base."""
    if base is None:
        return NOT_JUDGED
    changes = {
        metric: difference(base, model, metric).change
        if scores_of(base, metric) or scores_of(model, metric)
        else None
        for metric in Metric
    }
    return verdict(changes[Metric.VERIFIER], changes[Metric.REWARD], same_model=model.is_same_model(base))


def run_verdict(data: ReportData) -> Verdict | None:
    """The run's verdict, which is that on its main model; None if the run has trained none yet."""
    if data.main is not None:
        return verdict_on(data.base, data.main)
    return NOT_JUDGED if data.unjudged is not None else None


def compare(data: ReportData) -> Comparison:
    """Every model's estimates, its differences to the base, and main against each baseline."""
    models = [model for model in (data.base, data.main, *data.baselines) if model is not None]
    metrics = tuple(metric for metric in Metric if any(scores_of(model, metric) for model in models))
    rows = tuple(
        ModelRow(
            label=model.label,
            is_main=model is data.main,
            verdict=None if model is data.base else verdict_on(data.base, model),
            estimates={metric: estimate(scores_of(model, metric).values()) for metric in metrics},
            to_base=_differences(data.base, model, metrics) if data.base and model is not data.base else {},
        )
        for model in models
    )
    versus = tuple(
        VersusRow(baseline.label, _differences(baseline, data.main, metrics))
        for baseline in data.baselines
        if data.main is not None
    )
    found = [d.left_out for row in rows for d in row.to_base.values()]
    found += [d.left_out for row in versus for d in row.differences.values()]
    scores = [
        value for model in models for part in (model.verifier, model.rewards) for value in part.values()
    ]
    not_finite = sum(not math.isfinite(value) for value in scores)
    return Comparison(metrics, rows, versus, max(found, default=0), not_finite)


def _differences(
    before: ModelScores, after: ModelScores, metrics: tuple[Metric, ...]
) -> Mapping[Metric, Difference]:
    return {metric: difference(before, after, metric) for metric in metrics}


def number(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """A number as text with a true minus sign; never "−0.0"; an en dash for None."""
    if value is None:
        return "–"
    text = f"{abs(value):,.{decimals}f}"
    if not any(digit in text for digit in "123456789"):
        return text
    return ("−" if value < 0 else "+" if signed else "") + text


def interval_text(value: Estimate, decimals: int) -> str:
    """Such as "7.6 to 9.2", or "no interval from one prompt"."""
    interval = value.interval
    if interval is None:
        return "no interval from one prompt" if value.n == 1 else "no prompts"
    return f"{number(interval[0], decimals)} to {number(interval[1], decimals)}"

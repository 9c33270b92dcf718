"""What the held-out scores say: estimates of every model, paired differences, and how they are written.

Models are compared on the prompts both have a score for; how many were left out for that is kept and shown.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from figa_core.evaluation.statistics import Estimate, estimate, paired_difference
from figa_core.report.data import ModelScores, ReportData

MINUS = "−"


class Metric(StrEnum):
    """What models are judged by."""

    VERIFIER = "verifier"
    REWARD = "reward"

    @property
    def factor(self) -> float:
        """Verifier scores are shares and are shown as points of 100; rewards are shown as they are."""
        return 100.0 if self is Metric.VERIFIER else 1.0

    @property
    def decimals(self) -> int:
        """Decimals shown."""
        return 1 if self is Metric.VERIFIER else 2


@dataclass(frozen=True, slots=True)
class Difference:
    """after − before on the prompts both have; `left_out` counts prompts that only one of them has."""

    before: Estimate
    after: Estimate
    change: Estimate
    left_out: int


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of the table: its estimate and its difference to the base, by metric."""

    label: str
    is_main: bool
    estimates: Mapping[Metric, Estimate]
    to_base: Mapping[Metric, Difference]


@dataclass(frozen=True, slots=True)
class VersusRow:
    """The main model against one baseline, by metric."""

    main: str
    baseline: str
    differences: Mapping[Metric, Difference]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The before/after table: `metrics` are those with any score at all, the judge first.

    `not_finite` counts scores that are NaN or infinite; they are in no mean, and the report says so.
    """

    metrics: tuple[Metric, ...]
    rows: tuple[ModelRow, ...]
    versus: tuple[VersusRow, ...]
    left_out: int
    not_finite: int


def scores_of(model: ModelScores, metric: Metric) -> Mapping[str, float]:
    """Prompt id → finite score in the unit it is shown in."""
    return {key: value * metric.factor for key, value in _raw(model, metric).items() if math.isfinite(value)}


def _raw(model: ModelScores, metric: Metric) -> Mapping[str, float]:
    return model.verifier if metric is Metric.VERIFIER else model.rewards


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


def compare(data: ReportData) -> Comparison:
    """Every model's estimates, its differences to the base, and main against each baseline."""
    models = [model for model in (data.base, data.main, *data.baselines) if model is not None]
    metrics = tuple(metric for metric in Metric if any(scores_of(model, metric) for model in models))
    rows = tuple(_model_row(model, data, metrics) for model in models)
    versus = tuple(
        VersusRow(data.main.label, baseline.label, _differences(baseline, data.main, metrics))
        for baseline in data.baselines
        if data.main is not None
    )
    found = [d.left_out for row in rows for d in row.to_base.values()]
    found += [d.left_out for row in versus for d in row.differences.values()]
    return Comparison(
        metrics=metrics,
        rows=rows,
        versus=versus,
        left_out=max(found, default=0),
        not_finite=sum(len(_raw(model, m)) - len(scores_of(model, m)) for model in models for m in Metric),
    )


def _model_row(model: ModelScores, data: ReportData, metrics: tuple[Metric, ...]) -> ModelRow:
    compared = data.base is not None and model is not data.base
    return ModelRow(
        label=model.label,
        is_main=model is data.main,
        estimates={metric: estimate(scores_of(model, metric).values()) for metric in metrics},
        to_base=_differences(data.base, model, metrics) if compared and data.base else {},
    )


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
    return (MINUS if value < 0 else "+" if signed else "") + text


def interval_text(value: Estimate, decimals: int) -> str:
    """Such as "7.6 to 9.2", or "no interval from one prompt"."""
    interval = value.interval
    if interval is None:
        return "no interval from one prompt" if value.n == 1 else "no prompts"
    return f"{number(interval[0], decimals)} to {number(interval[1], decimals)}"

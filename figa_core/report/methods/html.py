"""The comparison of methods as one self-contained HTML file, in the style of the run's report."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from figa_core.evaluation.cost import Cost, mean_cost
from figa_core.evaluation.crossed import crossed
from figa_core.report import plots as run_plots
from figa_core.report.comparison import number
from figa_core.report.html import environment
from figa_core.report.methods import plots, text
from figa_core.report.methods.comparison import (
    MethodContrast,
    MethodsComparison,
    below_base,
    by_type,
    spread_over_seeds,
)
from figa_core.report.methods.data import MethodOutcome, MethodsData, validation_means
from figa_core.report.sentences import duration


def render_methods(data: MethodsData, found: MethodsComparison) -> str:
    """The whole HTML document as text; equal data gives equal bytes."""
    largest = found.sizes[-1] if found.sizes else 0
    curves = [row.method.curve for row in found.rows if row.method.pairs == largest and row.method.curve]
    return (
        environment()
        .get_template("methods.html.j2")
        .render(
            data=data,
            found=found,
            sentences=list(text.result_sentences(data, found)),
            contrasts=_ordered(found.contrasts),
            costs=[_cost_row(data, row.method) for size in found.sizes for row in found.at(size)],
            sweeps=_sweeps(data, found),
            types=[(size, by_type(data, size)) for size in reversed(found.sizes)] if data.types else [],
            troubles=[(row.method, why) for row in found.rows if (why := text.troubles(row.method))],
            scores=plots.scores(data, found),
            by_pairs=plots.by_pairs(data, found),
            by_steps=plots.by_steps(data, found),
            after_steps=_after_steps(data, found),
            frontier=plots.frontier(data, found),
            curves=run_plots.training_curves(curves),
            text=text,
        )
    )


def _ordered(contrasts: Sequence[MethodContrast]) -> list[tuple[int, list[MethodContrast]]]:
    """By number of pairs, the largest first, and within it the smallest p first."""
    by_pairs: dict[int, list[MethodContrast]] = {}
    for each in sorted(contrasts, key=lambda c: 2.0 if c.p_adjusted is None else c.p_adjusted):
        by_pairs.setdefault(each.pairs, []).append(each)
    return sorted(by_pairs.items(), reverse=True)


def _after_steps(data: MethodsData, found: MethodsComparison) -> list[tuple[str, int, int, int, str]]:
    """Of each judged step: method, pairs, steps, seeds, and the score."""
    return [
        (
            row.method.name,
            size,
            point.steps,
            len(point.values),
            text.estimate_text(crossed(point.values), data.metric.decimals),
        )
        for size in reversed(found.sizes)
        for row in found.at(size)
        for point in row.method.after_steps
    ]


class _CostRow(NamedTuple):
    name: str
    pairs: int
    score: str
    spread: str
    drift: str
    tokens: str
    flops: str
    seconds: str
    memory: str
    data: str
    usd: str
    sweep: str


def _cost_row(data: MethodsData, method: MethodOutcome) -> _CostRow:
    one: Cost = mean_cost([each.cost for each in method.chosen])
    usd = method.data_cost.usd
    return _CostRow(
        name=method.name,
        pairs=method.pairs,
        score=number(crossed(method.values).mean, data.metric.decimals),
        spread=number(spread_over_seeds(method), data.metric.decimals),
        drift=number(_mean([each.kl_from_base for each in method.chosen]), 4),
        tokens=f"{one.tokens:,.0f}",
        flops=f"{one.flops:.1e}",
        seconds=duration(one.seconds),
        memory=f"{one.peak_bytes / 2**30:.1f} GiB" if one.peak_bytes else "–",
        data=f"{method.data_cost.flops + method.pass_cost.flops:.1e}",
        usd="–" if usd is None else f"${usd:,.2f}",
        sweep=f"{method.sweep_cost.flops:.1e}, {duration(method.sweep_cost.seconds)}",
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


class _Sweep(NamedTuple):
    name: str
    pairs: int
    rates: list[tuple[str, str, int, bool]]


def _sweeps(data: MethodsData, found: MethodsComparison) -> list[_Sweep]:
    """For each row its rates, with the validation score of every seed, and what was chosen."""
    sweeps = []
    for row in found.rows:
        means = validation_means(row.method.trainings)
        worse = [each.learning_rate for each in below_base(data, row.method)]
        rates = [
            (
                f"{rate:g}",
                ", ".join(number(score, data.metric.decimals) for score in means[rate]),
                worse.count(rate),
                rate == row.method.learning_rate,
            )
            for rate in sorted(means)
        ]
        if rates:
            sweeps.append(_Sweep(row.method.name, row.method.pairs, rates))
    return sweeps

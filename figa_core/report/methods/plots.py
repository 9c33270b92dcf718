"""The figures of a comparison of methods: scores, numbers of pairs, quality against cost."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figa_core.evaluation.cost import mean_cost
from figa_core.evaluation.crossed import crossed
from figa_core.report.comparison import number
from figa_core.report.methods.comparison import BASE, MethodsComparison, Row
from figa_core.report.methods.data import MethodOutcome, MethodsData
from figa_core.report.plots import plain_axes, short, style_of
from figa_core.report.svg import FAINT, GRID, INK, Cell, Drawing, drawing

Names = Sequence[str]


def names_of(data: MethodsData) -> list[str]:
    """Every method once, in order: its place is its colour in all figures."""
    return list(dict.fromkeys(method.name for method in data.methods))


def scores(data: MethodsData, found: MethodsComparison) -> Drawing | None:
    """Each method's difference to the base at the largest number of pairs, with simultaneous intervals."""
    rows = (
        [row for row in found.at(found.sizes[-1]) if row.to_base and row.to_base.interval]
        if found.sizes
        else []
    )
    if not rows:
        return None
    names = names_of(data)

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            assert row.to_base is not None
            _difference(
                axes, place, row, style_of(names.index(row.method.name))["color"], data.metric.decimals
            )
        axes.set_yticks(range(len(rows)), [short(row.method.name, 40 if wide else 18) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.65)
        axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlabel("change against base", color=INK)
        plain_axes(axes, f"{data.metric.label}, {rows[0].method.pairs:,} pairs")
        axes.tick_params(axis="y", labelcolor=INK, labelsize=10)
        axes.margins(x=0.08)

    height = 0.85 + 0.5 * len(rows)
    description = "Differences to the base model with their intervals; the table has the numbers."
    table: list[list[Cell]] = [["method", "pairs", "change against base", "from", "to"]]
    for row in rows:
        assert row.to_base is not None
        limits = row.to_base.interval or (None, None)
        table.append([row.method.name, row.method.pairs, row.to_base.change.mean, *limits])
    return drawing("methods-scores", draw, height, height, description, table)


def _difference(axes: Axes, place: int, row: Row, colour: str, decimals: int) -> None:
    assert row.to_base is not None
    interval, mean = row.to_base.interval, row.to_base.change.mean
    if interval is None or mean is None:
        return
    axes.plot(interval, (place, place), color=colour, linewidth=3, solid_capstyle="butt", alpha=0.75)
    axes.plot([mean], [place], marker="o", markersize=7, color=colour)
    place_of_text = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center"}
    axes.annotate(number(mean, decimals, signed=True), (mean, place), **place_of_text, color=INK, fontsize=9)


def by_pairs(data: MethodsData, found: MethodsComparison) -> Drawing | None:
    """Each method's score over the number of pairs; None with a single number."""
    if len(found.sizes) < 2:
        return None
    names = names_of(data)

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        for index, name in enumerate(names):
            rows = [row for size in found.sizes for row in found.at(size) if row.method.name == name]
            _line(axes, rows, style_of(index), short(name, 28))
        if found.base.mean is not None:
            axes.axhline(found.base.mean, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), label=BASE)
        axes.set_xscale("log", base=2)
        axes.set_xticks(found.sizes, [f"{size:,}" for size in found.sizes])
        axes.minorticks_off()
        axes.set_xlabel("pairs", color=INK)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        plain_axes(axes, data.metric.label)
        _legend(figure, axes, wide)

    description = f"Score of {len(names)} methods by number of pairs; the table has the numbers."
    table: list[list[Cell]] = [["method", "pairs", data.metric.label, "95 % from", "95 % to"]]
    for row in found.rows:
        limits = row.estimate.interval() or (None, None)
        table.append([row.method.name, row.method.pairs, row.estimate.mean, *limits])
    return drawing("methods-pairs", draw, 3.6, 3.4 + 0.25 * len(names), description, table)


def _line(axes: Axes, rows: Sequence[Row], style: dict, label: str) -> None:
    points = [(row.method.pairs, row.estimate.mean) for row in rows if row.estimate.mean is not None]
    if not points:
        return
    axes.plot(*zip(*points, strict=True), marker="o", markersize=5, label=label, **style)
    for row in rows:
        interval = row.estimate.interval()
        if interval is not None:
            axes.plot((row.method.pairs,) * 2, interval, color=style["color"], linewidth=1, alpha=0.4)


def by_steps(data: MethodsData, found: MethodsComparison) -> Drawing | None:
    """Each method's score over its optimizer steps, with the most pairs; None if no curve was asked for."""
    rows = [row for row in found.at(found.sizes[-1]) if row.method.after_steps] if found.sizes else []
    if not rows:
        return None
    names = names_of(data)

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        for row in rows:
            _steps_line(axes, row.method, style_of(names.index(row.method.name)))
        if found.base.mean is not None:
            axes.axhline(found.base.mean, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), label=BASE)
        axes.set_xlabel("optimizer steps", color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        plain_axes(axes, f"{data.metric.label}, {rows[0].method.pairs:,} pairs")
        _legend(figure, axes, wide)

    of = "1 method" if len(rows) == 1 else f"{len(rows)} methods"
    description = f"Score of {of} by optimizer steps; the table has the numbers."
    table: list[list[Cell]] = [["method", "steps", data.metric.label, "95 % from", "95 % to"]]
    for row in rows:
        for point in row.method.after_steps:
            estimate = crossed(point.values)
            limits = estimate.interval() or (None, None)
            table.append([row.method.name, point.steps, estimate.mean, *limits])
    return drawing("methods-steps", draw, 3.6, 3.4 + 0.25 * len(rows), description, table)


def _steps_line(axes: Axes, method: MethodOutcome, style: dict) -> None:
    found = [(point.steps, crossed(point.values)) for point in method.after_steps]
    points = [(steps, estimate.mean) for steps, estimate in found if estimate.mean is not None]
    if points:
        label = short(method.name, 28)
        axes.plot(*zip(*points, strict=True), marker="o", markersize=5, label=label, **style)
    for steps, estimate in found:
        if (interval := estimate.interval()) is not None:
            axes.plot((steps, steps), interval, color=style["color"], linewidth=1, alpha=0.4)


def total_flops(method: MethodOutcome) -> float:
    """Of one training at the chosen rate, the reference model's pass and the data it needs."""
    cost = mean_cost([each.cost for each in method.chosen]) + method.pass_cost + method.data_cost
    return cost.flops


def frontier(data: MethodsData, found: MethodsComparison) -> Drawing | None:
    """Score against operations; the line joins what no cheaper method beats."""
    rows = [row for size in found.sizes for row in found.at(size) if total_flops(row.method) > 0]
    if not rows:
        return None
    names = names_of(data)

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        shown = set()
        for row in rows:
            name, style = row.method.name, style_of(names.index(row.method.name))
            label = None if name in shown else short(name, 28)
            shown.add(name)
            size = 5 + 2 * found.sizes.index(row.method.pairs)
            point = ([total_flops(row.method)], [_mean(row)])
            axes.plot(*point, marker="o", markersize=size, linestyle="", color=style["color"], label=label)
        best = best_for_cost(rows)
        axes.step(
            [total_flops(row.method) for row in best], [_mean(row) for row in best],
            where="post", color=FAINT, linewidth=1, zorder=0,
        )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel("operations of one training and its data (FLOPs)", color=INK)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        plain_axes(axes, data.metric.label)
        _legend(figure, axes, wide)

    description = "Score against operations; the line joins the methods that no cheaper one beats."
    table: list[list[Cell]] = [["method", "pairs", "FLOPs", data.metric.label]]
    table += [[row.method.name, row.method.pairs, total_flops(row.method), row.estimate.mean] for row in rows]
    return drawing("methods-frontier", draw, 3.8, 3.6 + 0.25 * len(names), description, table)


def _mean(row: Row) -> float:
    return -math.inf if row.estimate.mean is None else row.estimate.mean


def best_for_cost(rows: Sequence[Row]) -> list[Row]:
    """The rows that no cheaper row equals or beats, by rising cost."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (total_flops(row.method), -_mean(row))):
        if not best or _mean(row) > _mean(best[-1]):
            best.append(row)
    return best


def _legend(figure: Figure, axes: Axes, wide: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=4 if wide else 1, frameon=False, labelcolor=INK
    )

"""The report's figures: reward histograms, training curves, differences with their intervals."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from figa_core.evaluation.statistics import Estimate
from figa_core.report.comparison import Comparison, Metric, ModelRow, number
from figa_core.report.data import RewardSamples, TrainingCurve
from figa_core.report.svg import FAINT, GRID, INK, SERIES, Cell, Drawing, Table, drawing

_BINS = 44
_SMOOTHING_SHARE = 0.06

# The main model comes first, in blue. Lines differ in their dashes as well as in their colours.
_STYLES = tuple(
    {"color": colour, "linestyle": dashes, "linewidth": 1.8}
    for colour, dashes in zip(
        (SERIES[1], SERIES[0], *SERIES[2:]),
        ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (1, 1))),
        strict=True,
    )
)


_ALL_STYLES = tuple(
    {**_STYLES[(index + shift) % len(_STYLES)], "color": _STYLES[index]["color"]}
    for shift in range(3)
    for index in range(len(_STYLES))
)


def style_of(index: int) -> dict[str, Any]:
    """Colour and dashes of the line at this place; after 15 lines they repeat."""
    return dict(_ALL_STYLES[index % len(_ALL_STYLES)])


def reward_histograms(rewards: RewardSamples) -> Drawing | None:
    """Initial, revised and reference rewards, one above the other on one axis; None without any reward."""
    samples = [
        ("initial response", rewards.initial, SERIES[0], rewards.response_below, "η1: kept below"),
        ("revised response", rewards.revised, SERIES[1], None, ""),
        ("reference", rewards.reference, SERIES[2], rewards.reference_above, "η2: kept above"),
    ]
    finite = [(label, list(filter(math.isfinite, values)), *rest) for label, values, *rest in samples]
    shown = [sample for sample in finite if sample[1]]
    if not shown:
        return None
    edges = _bin_edges([value for sample in shown for value in sample[1]])

    def draw(figure: Figure, wide: bool) -> None:
        grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False)
        for axes, (label, values, colour, threshold, name) in zip(grid[:, 0], shown, strict=True):
            _histogram(axes, label, np.asarray(values), edges, colour)
            if threshold is not None and edges[0] <= threshold <= edges[-1]:
                _threshold(axes, threshold, name if wide else name.partition(":")[0], below="below" in name)
        grid[-1, 0].set_xlabel("reward", color=INK)

    counts = [
        [label, float(edges[place]), float(edges[place + 1]), int(count)]
        for label, values, *_ in shown
        for place, count in enumerate(np.histogram(values, edges)[0])
    ]
    means = ", ".join(f"{label} mean {np.mean(values):.2f}" for label, values, *_ in shown)
    height = 0.5 + 1.25 * len(shown)
    description = f"Histograms of rewards: {means}."
    data = [["text", "reward from", "reward to", "count"], *counts]
    return drawing("rewards", draw, height, height, description, data)


def _bin_edges(values: Sequence[float]) -> np.ndarray:
    low, high = min(values), max(values)
    margin = 0.02 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, _BINS + 1)


def _histogram(axes: Axes, label: str, values: np.ndarray, edges: np.ndarray, colour: str) -> None:
    shares = np.histogram(values, edges)[0] / len(values) * 100
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.45)
    axes.stairs(shares, edges, color=colour, linewidth=1.4)
    mean = float(values.mean())
    axes.axvline(mean, color=colour, linewidth=1.6)
    plain_axes(axes, f"{label} · n = {len(values):,} · mean {number(mean, 2)}", size=10, pad=6)
    axes.set_ylim(0, max(shares) * 1.08)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")


def _threshold(axes: Axes, value: float, name: str, *, below: bool) -> None:
    axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    low, high = axes.get_xlim()
    share = (value - low) / (high - low)
    left = share > (0.75 if below else 0.25)  # on the side that passes the test, if there is room
    offset, side = (-4, "right") if left else (4, "left")
    place = {"xycoords": ("data", "axes fraction"), "xytext": (offset, 0), "textcoords": "offset points"}
    text = f"{name} {number(value, 2)}"
    axes.annotate(text, (value, 0.93), **place, ha=side, va="top", color=INK, fontsize=8.5)


def training_curves(curves: Sequence[TrainingCurve]) -> Drawing | None:
    """A panel per metric, a line per training: running mean over faint raw values; None without a step."""
    metrics = list(dict.fromkeys(name for curve in curves for name in curve.series))
    metrics = [name for name in metrics if any(_points(curve, name)[0].size for curve in curves)]
    if not metrics:
        return None

    def draw(figure: Figure, wide: bool) -> None:
        columns = min(len(metrics), 2) if wide else 1
        rows = math.ceil(len(metrics) / columns)
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, name in zip(grid, metrics, strict=False):
            _curve_panel(axes, name, curves)
        for axes in grid[len(metrics) :]:
            axes.set_visible(False)
        _line_legend(figure, curves, 4 if wide else 1)

    wide_rows, legend = math.ceil(len(metrics) / 2), 0.28
    last = "; ".join(f"{curve.label}: {len(curve.steps)} steps" for curve in curves)
    description = f"Training curves of {', '.join(metrics)} by optimizer step. {last}."
    heights = 2.75 * wide_rows + legend, 2.3 * len(metrics) + legend * len(curves)
    return drawing("curves", draw, *heights, description, _curve_data(curves, metrics))


def _curve_data(curves: Sequence[TrainingCurve], metrics: Sequence[str]) -> Table:
    rows: list[list[Cell]] = [["training", "step", *metrics]]
    for curve in curves:
        series = [curve.series.get(name, ()) for name in metrics]
        for place, step in enumerate(curve.steps):
            values = (each[place] if place < len(each) else None for each in series)
            rows.append([curve.label, step, *values])
    return rows


def _points(curve: TrainingCurve, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which one metric is finite, and its values there."""
    pairs = zip(curve.steps, curve.series.get(name, ()), strict=False)
    found = [(step, value) for step, value in pairs if value is not None and math.isfinite(value)]
    return np.array([step for step, _ in found]), np.array([value for _, value in found])


def _curve_panel(axes: Axes, name: str, curves: Sequence[TrainingCurve]) -> None:
    for index, curve in enumerate(curves):
        steps, values = _points(curve, name)
        if not steps.size:
            continue
        style = style_of(index)
        axes.plot(steps, values, color=style["color"], linewidth=0.8, alpha=0.3)
        axes.plot(steps, _smooth(values), marker="o" if steps.size == 1 else None, **style)
    axes.set_xlabel("optimizer step", color=INK)
    plain_axes(axes, name)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred running mean, of fewer values at both ends."""
    half = int(len(values) * _SMOOTHING_SHARE / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    first, last = np.maximum(index - half, 0), np.minimum(index + half, len(values) - 1)
    return (sums[last + 1] - sums[first]) / (last - first + 1)


def _line_legend(figure: Figure, curves: Sequence[TrainingCurve], columns: int) -> None:
    figure.legend(
        [Line2D([], [], **style_of(index)) for index in range(len(curves))],
        [short(curve.label, 28) for curve in curves],
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        labelcolor=INK,
        handlelength=3.4,
    )


def difference_intervals(comparison: Comparison) -> Drawing | None:
    """Each trained model's paired difference to the base with its 95 % interval; None without any."""
    rows = [row for row in comparison.rows if any(d.change.interval for d in row.to_base.values())]
    metrics = [m for m in comparison.metrics if any(m in row.to_base for row in rows)]
    if not rows or not metrics:
        return None

    def draw(figure: Figure, wide: bool) -> None:
        shape = (1, len(metrics)) if wide else (len(metrics), 1)
        grid = figure.subplots(*shape, squeeze=False, sharey=wide).flatten()
        for axes, metric in zip(grid, metrics, strict=True):
            for place, row in enumerate(rows):
                colour = _STYLES[place % len(_STYLES)]["color"]
                _interval(axes, place, row.to_base[metric].change, colour, metric.decimals)
            axes.set_yticks(range(len(rows)), [short(row.label, 40 if wide else 20) for row in rows])
            axes.set_ylim(len(rows) - 0.4, -0.65)
            axes.set_xlabel("change against base", color=INK)
            axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            plain_axes(axes, "verifier, points of 100" if metric is Metric.VERIFIER else "mean reward")
            axes.tick_params(axis="y", labelcolor=INK, labelsize=10)
            axes.margins(x=0.08)

    height = 0.75 + 0.5 * len(rows)
    description = (
        "Paired differences to the base model with 95 % confidence intervals; the table has the numbers."
    )
    data: list[list[Cell]] = [["model", "score", "change against base", "95 % from", "95 % to", "prompts"]]
    data += [_difference_data(row, metric) for row in rows for metric in metrics]
    return drawing("differences", draw, height, height * len(metrics), description, data)


def _difference_data(row: ModelRow, metric: Metric) -> list[Cell]:
    change = row.to_base[metric].change
    low, high = change.interval or (None, None)
    return [row.label, metric.label, change.mean, low, high, change.n]


def _interval(axes: Axes, place: int, change: Estimate, colour: str, decimals: int) -> None:
    interval, mean = change.interval, change.mean
    if interval is None or mean is None:
        return
    axes.plot(interval, (place, place), color=colour, linewidth=3, solid_capstyle="butt", alpha=0.75)
    axes.plot([mean], [place], marker="o", markersize=7, color=colour)
    text = number(mean, decimals, signed=True)
    axes.annotate(
        text, (mean, place), xytext=(0, 8), textcoords="offset points", ha="center", color=INK, fontsize=9
    )


def plain_axes(axes: Axes, title: str, *, size: float = 10.5, pad: int = 5) -> None:
    """A title, no frame but the axis at the bottom, and faint ticks."""
    axes.set_title(title, loc="left", color=INK, fontsize=size, pad=pad)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=FAINT, length=3, labelsize=9)
    axes.tick_params(axis="y", length=0)
    axes.patch.set_visible(False)


def short(text: str, limit: int) -> str:
    """A label that leaves room for its axes, without the $…$ that matplotlib would read as a formula."""
    kept = text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
    return kept.replace("$", r"\$")

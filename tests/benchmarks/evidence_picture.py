"""The comparisons of `make evidence` as one picture: every method's score with its interval, by domain."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tests.benchmarks.evidence_report import Found

PICTURE = "evidence.png"
_OURS, _OTHERS, _BASE = "#0072b2", "#5b6775", "#d55e00"


def draw(found: Sequence["Found"], path: Path) -> Path | None:
    """One panel a domain, its methods from the best down; None if nothing was compared."""
    panels = [each for each in found if each.compares_all_methods and each.rows]
    if not panels:
        return None
    most = max(len(each.rows) for each in panels)
    figure = Figure(figsize=(4.6 * len(panels), 1.3 + 0.36 * most), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, each in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, each)
    canvas.print_png(path)
    return path


def _panel(axes: "Axes", found: "Found") -> None:
    rows = found.rows
    axes.axvline(found.base, color=_BASE, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate(
        "base", (found.base, -0.62), color=_BASE, fontsize=9, ha="center", va="bottom", annotation_clip=False
    )
    for place, row in enumerate(rows):
        _row(axes, place, row)
    axes.set_yticks(range(len(rows)), [row["method"] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("verifier, of 100, with 95 % intervals")
    axes.set_title(found.name, loc="left", pad=16)
    axes.grid(axis="x", color="#e6eaef")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _row(axes: "Axes", place: int, row: dict[str, Any]) -> None:
    colour = _OURS if row["objective"] == "figa" else _OTHERS
    score = row["score"]
    if score["interval"]:
        axes.plot(score["interval"], (place, place), color=colour, linewidth=3, alpha=0.6)
    axes.plot([score["mean"]], [place], marker="o", markersize=6, color=colour)

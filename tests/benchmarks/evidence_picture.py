"""The comparisons of `make evidence` as one picture: every method's score with its interval, by domain."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from figa_core.report.svg import FAINT, GRID, INK, SERIES, Drawing, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tests.benchmarks.evidence_report import Found

PICTURE = "evidence.png"
_DESCRIPTION = "Every method's score with its 95 % interval, by domain; the tables have the numbers."


class _Colours(NamedTuple):
    ours: str
    others: str
    base: str
    ink: str
    grid: str


_FIXED = _Colours("#0072b2", "#5b6775", "#d55e00", "#000000", "#e6eaef")
_OF_THE_PAGE = _Colours(SERIES[1], FAINT, SERIES[0], INK, GRID)  # light or dark, as the reader likes it


def draw(found: Sequence["Found"], path: Path) -> Path | None:
    """A PNG file with one panel a domain, its methods from the best down; None if nothing was compared."""
    panels = _panels(found)
    if not panels:
        return None
    figure = Figure(figsize=(4.6 * len(panels), _height(panels)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    _draw(figure, panels, _FIXED, across=True)
    canvas.print_png(path)
    return path


def drawn(found: Sequence["Found"]) -> Drawing | None:
    """The same for a page; on a narrow screen the panels are one below the other."""
    panels = _panels(found)
    if not panels:
        return None

    def on(figure: Figure, wide: bool) -> None:
        _draw(figure, panels, _OF_THE_PAGE, across=wide)

    data = [["domain", "method", "score", "95 % from", "95 % to"]]
    data += [[each.name, *_data(row)] for each in panels for row in each.rows]
    return drawing("evidence", on, _height(panels), _height(panels) * len(panels), _DESCRIPTION, data)


def _data(row: dict[str, Any]) -> list[Any]:
    return [row["method"], row["score"]["mean"], *(row["score"]["interval"] or (None, None))]


def _panels(found: Sequence["Found"]) -> list["Found"]:
    return [each for each in found if each.compares_all_methods and each.rows]


def _height(panels: Sequence["Found"]) -> float:
    return 1.3 + 0.36 * max(len(each.rows) for each in panels)


def _draw(figure: Figure, panels: Sequence["Found"], colours: _Colours, *, across: bool) -> None:
    grid = figure.subplots(*((1, len(panels)) if across else (len(panels), 1)), squeeze=False)
    for axes, each in zip(grid.flat, panels, strict=True):
        _panel(axes, each, colours)
        unit = "verifier, of 100, with 95 % intervals" if across else "verifier, of 100"
        axes.set_xlabel(unit, color=colours.ink)


def _panel(axes: "Axes", found: "Found", colours: _Colours) -> None:
    rows = found.rows
    axes.axvline(found.base, color=colours.base, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate(
        "base", (found.base, -0.62), color=colours.base, fontsize=9, ha="center", va="bottom",
        annotation_clip=False,
    )  # fmt: skip
    for place, row in enumerate(rows):
        _row(axes, place, row, colours)
    axes.set_yticks(range(len(rows)), [row["method"] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_title(found.name, loc="left", pad=16, color=colours.ink)
    axes.grid(axis="x", color=colours.grid)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(colours.ink)
    axes.tick_params(axis="both", color=colours.ink, labelcolor=colours.ink)
    axes.tick_params(axis="y", length=0)


def _row(axes: "Axes", place: int, row: dict[str, Any], colours: _Colours) -> None:
    colour = colours.ours if row["objective"] == "figa" else colours.others
    score = row["score"]
    if score["interval"]:
        axes.plot(score["interval"], (place, place), color=colour, linewidth=3, alpha=0.6)
    axes.plot([score["mean"]], [place], marker="o", markersize=6, color=colour)

"""Matplotlib figures as inline SVG: deterministic, with unique ids, coloured by the page's CSS.

Placeholder colours are replaced by CSS variables, so that one drawing serves light, dark and print. Every
figure is drawn wide and narrow, and CSS shows the one that fits, so that text stays readable on a phone.

Figures are made without pyplot and its global state. `svg.hashsalt` is only a global setting, hence the lock.
"""

import io
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Placeholder colours, which must not occur in a drawing otherwise.
INK, FAINT, GRID = "#010101", "#020202", "#030303"
SERIES = ("#040404", "#050505", "#060606", "#070707", "#080808")

_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    GRID: "var(--grid)",
    **{colour: f"var(--series-{index})" for index, colour in enumerate(SERIES)},
}
# The page's light theme (templates/report.css), for a standalone drawing.
_LIGHT = {
    "ink": "#1b2430", "faint": "#5b6775", "grid": "#e6eaef", "series-0": "#d55e00", "series-1": "#0072b2",
    "series-2": "#008563", "series-3": "#a3527f", "series-4": "#6b6b6b",
}  # fmt: skip
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "figa-report", "font.size": 10.0}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_LOCK = threading.Lock()

Draw = Callable[[Figure, bool], None]
"""Draws into an empty figure; the flag: whether it is the wide one."""


Cell = str | float | None
Table = Sequence[Sequence[Cell]]
"""Rows of cells; the first row has their names."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure in two widths, as SVG elements, a sentence for screen readers, and what is drawn."""

    name: str
    wide: str
    narrow: str
    description: str
    data: Table


def drawing(
    name: str, draw: Draw, wide_height: float, narrow_height: float, description: str, data: Table
) -> Drawing:
    """Draw a wide and a narrow version; heights in inches. `name` prefixes the ids: unique in the page."""
    with _LOCK, mpl.rc_context(_STYLE):
        wide = _svg(f"{name}-wide", draw, wide_height, True)
        narrow = _svg(f"{name}-narrow", draw, narrow_height, False)
    return Drawing(name, wide, narrow, description, data)


def _svg(prefix: str, draw: Draw, height: float, wide: bool) -> str:
    size = (9.6 if wide else 3.5, height)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    figure.patch.set_visible(False)
    draw(figure, wide)
    target = io.StringIO()
    figure.savefig(target, format="svg", metadata=_NO_METADATA)
    return _inline(target.getvalue(), prefix)


def _inline(document: str, prefix: str) -> str:
    """A matplotlib SVG file as an HTML element: no prologue, unique ids, page colours, scalable."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"', "", svg, count=5)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    # The figure's style would apply to the whole page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    svg = re.sub(r'xlink:href="#', f'href="#{prefix}-', svg)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    return svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)


def standalone_svg(drawing: Drawing) -> str:
    """The wide version as an SVG file, in the light theme on white, because no CSS reaches an `<img>`."""
    svg = re.sub(r"var\(--([a-z0-9-]+)\)", lambda match: _LIGHT[match[1]], drawing.wide)
    opening = '<svg xmlns="http://www.w3.org/2000/svg" style="background:#ffffff;font-family:sans-serif"'
    svg = svg.replace("<svg", opening, 1)
    return svg.replace('aria-hidden="true" focusable="false"', "", 1)

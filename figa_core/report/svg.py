"""Matplotlib figures as inline SVG: deterministic, without ids that clash, coloured by the page's CSS.

Figures are drawn in placeholder colours that are then replaced by CSS variables, so that one drawing serves
light, dark and print. Every figure is drawn twice, wide and narrow, and CSS shows the one that fits: text
stays readable on a phone, which a scaled drawing would not allow.

Figures are made without pyplot and its global state. `svg.hashsalt` exists as a global setting only, hence
the lock around drawing.
"""

import io
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Stand-in colours. The values must not occur in a drawing for any other reason.
INK, FAINT, GRID = "#010101", "#020202", "#030303"
SERIES = ("#040404", "#050505", "#060606", "#070707", "#080808")

_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    GRID: "var(--grid)",
    **{stand_in: f"var(--series-{index})" for index, stand_in in enumerate(SERIES)},
}
# The light theme of the page (templates/report.css), for a drawing by itself.
_LIGHT = {"ink": "#1b2430", "faint": "#5b6775", "grid": "#e6eaef"} | {
    f"series-{index}": colour
    for index, colour in enumerate(("#d55e00", "#0072b2", "#008563", "#a3527f", "#6b6b6b"))
}
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "figa-report", "font.size": 10.0}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_DRAWING = threading.Lock()

Draw = Callable[[Figure, bool], None]
"""Draws into an empty figure; the flag says whether it is the wide one."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure in two widths, as SVG elements, and the sentence read to those who do not see it."""

    wide: str
    narrow: str
    description: str


def drawing(
    name: str,
    draw: Draw,
    wide_inches: tuple[float, float],
    narrow_inches: tuple[float, float],
    description: str,
) -> Drawing:
    """Draw once wide and once narrow; `name` prefixes the ids, so it is unique in a page."""
    with _DRAWING, mpl.rc_context(_STYLE):
        wide = _svg(f"{name}-wide", draw, wide_inches, True)
        narrow = _svg(f"{name}-narrow", draw, narrow_inches, False)
    return Drawing(wide=wide, narrow=narrow, description=description)


def _svg(prefix: str, draw: Draw, inches: tuple[float, float], wide: bool) -> str:
    figure = Figure(figsize=inches, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    figure.patch.set_visible(False)
    draw(figure, wide)
    target = io.StringIO()
    figure.savefig(target, format="svg", metadata=_NO_METADATA)
    return inline_svg(target.getvalue(), prefix)


def inline_svg(document: str, prefix: str) -> str:
    """A matplotlib SVG file as an element for HTML: no prologue, own ids, page colours, scalable."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"', "", svg, count=5)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(
        r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL
    )  # would style the whole page
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    svg = re.sub(r'xlink:href="#', f'href="#{prefix}-', svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    return svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)


def standalone_svg(drawing: Drawing) -> str:
    """The wide one as an SVG file of its own, in the light theme on white: no CSS reaches an `<img>`."""
    svg = re.sub(r"var\(--([a-z0-9-]+)\)", lambda match: _LIGHT[match[1]], drawing.wide)
    svg = svg.replace(
        "<svg",
        '<svg xmlns="http://www.w3.org/2000/svg" style="background:#ffffff;font-family:sans-serif"',
        1,
    )
    return svg.replace('aria-hidden="true" focusable="false"', "", 1)

"""The data of a figure or table as a link that needs no file beside the page: CSV in a data URL."""

import csv
import io
import math
from urllib.parse import quote

from figa_core.report.svg import Cell, Table

_UNQUOTED = ",;:/?@!$()*+-._~"  # besides letters and digits


def csv_url(table: Table) -> str:
    """Such as "data:text/csv;charset=utf-8,step,loss%0A1,0.5%0A"; numbers have six significant digits."""
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerows([_cell(cell) for cell in row] for row in table)
    text = target.getvalue().encode(errors="replace")  # a model's name may hold a lone surrogate
    return "data:text/csv;charset=utf-8," + quote(text, safe=_UNQUOTED)


def _cell(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)

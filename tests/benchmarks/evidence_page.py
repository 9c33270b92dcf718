"""The comparisons of `make evidence` as one page: the goals, the picture, and every table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from figa_core.files import write_whole
from figa_core.report.html import environment
from tests.benchmarks.evidence_picture import PICTURE, draw, drawn
from tests.benchmarks.evidence_report import (
    COLUMNS,
    Found,
    by_type,
    cells,
    found_in,
    goals,
    table,
    tables_by_type,
    title,
)

if TYPE_CHECKING:
    from tests.benchmarks.evidence_plan import Experiment

REPORT = "report.html"
TEMPLATE = Path(__file__).with_suffix(".html.j2")
NOTHING_YET = "Nothing has been compared yet."


class _Section(NamedTuple):
    name: str
    title: str
    remarks: list[str]
    whole: str | None
    rows: list[tuple[str, ...]]
    types: list[tuple[str, list[str], list[list[str]]]]


def write_report(root: Path, experiments: Sequence["Experiment"]) -> Path:
    """Print everything, and write it to one page with the picture beside it; returns the page's path."""
    found = found_in(root, experiments)
    console = Console(width=220)
    for each in found:
        console.print(table(each), *tables_by_type(each))
    for line in goals(found) or [NOTHING_YET]:
        console.print(line, highlight=False)
    path = root / REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(found, root / PICTURE)
    write_whole(path, page(found, root).encode())
    return path


def page(found: Sequence[Found], root: Path) -> str:
    """The HTML document; `root` is the folder of the whole reports that it links to."""
    template = environment().from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        goals=goals(found),
        nothing=NOTHING_YET,
        picture=drawn(found),
        columns=COLUMNS,
        sections=[_section(each, root) for each in found],
    )


def _section(found: Found, root: Path) -> _Section:
    whole = f"{found.name}.html"
    return _Section(
        name=found.name,
        title=title(found),
        remarks=remarks(found),
        whole=whole if (root / whole).exists() else None,
        rows=[cells(found, row) for row in found.rows],
        types=list(by_type(found)),
    )


def remarks(found: Found) -> list[str]:
    """Where the figures are from, what was left out, and which methods have no score."""
    content = found.content
    lines = [
        f"Measured {content['created_at']}: rates were chosen on {content['validation_prompts']} held-out "
        f"prompts, and methods judged on {content['prompts']} others. Each interval is its own (95 %)."
    ]
    if told := content.get("transcribed"):
        lines.append(told)
    return lines + [
        f"Without a score: {each['method']}, {each['pairs']} pairs: {each['reason']}"
        for each in content["without_score"]
    ]

"""The report as one self-contained HTML file: no network, readable in ten years, whole without its script.

All text of models and users is autoescaped by Jinja2; only the SVG drawn here, the stylesheet and the script
that filters the examples are not. The page allows that script alone, by its hash.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from figa_core.evaluation.statistics import Estimate
from figa_core.evaluation.verdict import Outcome, Verdict
from figa_core.files import write_whole
from figa_core.records import EditClass
from figa_core.report import plots
from figa_core.report.comparison import (
    by_type,
    compare,
    first_difference,
    interval_text,
    moved_prompts,
    number,
    run_verdict,
)
from figa_core.report.configuration import setting_text
from figa_core.report.data import ReportData
from figa_core.report.figure_data import csv_url
from figa_core.report.first_page import first_page
from figa_core.report.funnel import Funnel
from figa_core.report.preferences import judge_sentences
from figa_core.report.sentences import comparison_sentences, duration, verdict_sentences
from figa_core.report.svg import Cell, Table

TEMPLATES = Path(__file__).parent / "templates"


def render_report(data: ReportData) -> str:
    """The whole HTML document as text; equal data gives equal bytes."""
    comparison, judged = compare(data), run_verdict(data)
    compared, moved = None, (0, 0, 0)
    if data.base is not None and data.main is not None:
        compared = first_difference(data.base, data.main)
        moved = moved_prompts(data.base, data.main, compared[0]) if compared else moved
    template = environment().get_template("report.html.j2")
    return template.render(
        data=data,
        answers=first_page(data),
        further=comparison_sentences(data),
        judged=judged,
        compared=compared,
        moved_prompts=moved,
        verdicts=verdict_sentences(data),
        Outcome=Outcome,
        preferences=[(pair, judge_sentences(pair)) for pair in data.judged_pairs],
        funnel=data.funnel.rows(),
        funnel_data=_funnel_data(data.funnel),
        comparison=comparison,
        types=by_type(data),
        histograms=plots.reward_histograms(data.rewards),
        curves=plots.training_curves(data.curves),
        differences=plots.difference_intervals(comparison),
        configuration={  # masked once more, because a report is passed around
            section: {name: setting_text(name, value) for name, value in settings.items()}
            for section, settings in data.configuration.items()
        },
        EditClass=EditClass,
        script=(TEMPLATES / "report.js").read_text(encoding="utf-8"),
    )


def write_report(data: ReportData, path: Path) -> None:
    """Render to `path`, whole or not at all."""
    text = render_report(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode(errors="replace"))  # a model may generate a lone surrogate


@cache
def environment() -> Environment:
    """The templates of all pages, with their filters."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        svg=Markup,
        csp_hash=csp_hash,
        csv_url=csv_url,
        direction=direction,
        number=number,
        with_error=with_error,
        interval=interval_text,
        edit=lambda edit: edit.name.lower().replace("_", "-"),
        seconds=duration,
        together=together,
        marked=marked,
        tone=tone,
    )
    return environment


def with_error(value: Estimate, decimals: int) -> str:
    """Such as "81.9 ± 0.6" (standard error), or only the mean if there is no standard error."""
    if value.standard_error is None:
        return number(value.mean, decimals)
    return f"{number(value.mean, decimals)} ± {number(value.standard_error, decimals)}"


def marked(text: str) -> tuple[str, str]:
    """Leading spaces, left unmarked, and the marked rest; white space alone is made visible."""
    rest = text.lstrip(" ")
    if rest.strip():
        return text[: len(text) - len(rest)], rest
    return "", text.replace(" ", "␣").replace("\t", "⇥").replace("\n", "↵\n")


def tone(verdict: Verdict | None) -> str:
    """The colour of a verdict: better, worse, or open."""
    outcome = None if verdict is None else verdict.outcome
    return {Outcome.BETTER: "better", Outcome.WORSE: "worse"}.get(outcome or Outcome.NOT_JUDGED, "open")


def together(sentence: str) -> str:
    """With no-break spaces where a line must not end: within "n = 600", "95 %" and "74 s"."""
    return re.sub(r"(?<=\d) (?=%|(?:s|min|h)\b)| (?==)|(?<==) ", "\u00a0", sentence)


def direction(change: float) -> str:
    """A change of a score in one word."""
    return "better" if change > 0 else "worse" if change < 0 else "same"


def csp_hash(script: str) -> Markup:
    """The source expression that allows this inline script, and no other, in a Content-Security-Policy."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Markup(f"'sha256-{digest}'")


def _funnel_data(funnel: Funnel) -> Table:
    """A row for each step, and one for each reason why rows did not reach it."""
    rows: list[list[Cell]] = [["step", "rows", "not in it because"]]
    for row in funnel.rows():
        rows.append([row.name, row.count, None])
        rows += [[row.name, drop.count, drop.reason] for drop in row.drops]
    return rows

"""The report as one self-contained HTML file: no script, no network, readable in ten years.

All text of models and users is autoescaped by Jinja2; only the SVG drawn here and the stylesheet are not.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from figa_core.evaluation.statistics import Estimate
from figa_core.evaluation.verdict import Outcome, Verdict
from figa_core.files import write_whole
from figa_core.records import EditClass
from figa_core.report import plots
from figa_core.report.comparison import (
    Difference,
    Metric,
    compare,
    difference,
    interval_text,
    number,
    run_verdict,
)
from figa_core.report.configuration import setting_text
from figa_core.report.data import ReportData
from figa_core.report.preferences import judge_sentences
from figa_core.report.sentences import comparison_sentences, result_sentence, verdict_sentences

_TEMPLATES = Path(__file__).parent / "templates"


def render_report(data: ReportData) -> str:
    """The whole HTML document as text; equal data gives equal bytes."""
    comparison = compare(data)
    template = environment().get_template("report.html.j2")
    return template.render(
        data=data,
        sentence=result_sentence(data),
        further=comparison_sentences(data),
        judged=run_verdict(data),
        verdicts=verdict_sentences(data),
        Outcome=Outcome,
        cards=_cards(data),
        preferences=[(pair, judge_sentences(pair)) for pair in data.judged_pairs],
        funnel=data.funnel.rows(),
        comparison=comparison,
        histograms=plots.reward_histograms(data.rewards),
        curves=plots.training_curves(data.curves),
        differences=plots.difference_intervals(comparison),
        configuration={  # masked once more, because a report is passed around
            section: {name: setting_text(name, value) for name, value in settings.items()}
            for section, settings in data.configuration.items()
        },
        EditClass=EditClass,
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
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        svg=Markup,
        number=number,
        with_error=with_error,
        interval=interval_text,
        edit=lambda edit: edit.name.lower().replace("_", "-"),
        seconds=duration,
        marked=marked,
        tone=tone,
    )
    return environment


def with_error(value: Estimate, decimals: int) -> str:
    """Such as "81.9 ± 0.6" (standard error), or only the mean if there is no standard error."""
    if value.standard_error is None:
        return number(value.mean, decimals)
    return f"{number(value.mean, decimals)} ± {number(value.standard_error, decimals)}"


def duration(seconds: float) -> str:
    """Such as "0.4 s", "74 s", "12 min 5 s" or "3 h 20 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


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


class _Card(NamedTuple):
    label: str
    value: str
    detail: str


def _cards(data: ReportData) -> list[_Card]:
    cards = []
    if data.base is not None and data.main is not None:
        changes = {metric: difference(data.base, data.main, metric) for metric in Metric}
        cards += [_change_card(metric, found) for metric, found in changes.items() if found.change.n]
    if data.funnel.steps:
        first, last = data.funnel.steps[0], data.funnel.steps[-1]
        cards.append(_Card(f"rows {last.name}", f"{last.count:,}", f"of {first.count:,} {first.name}"))
    if (calls := data.revision_calls) is not None:
        tokens = calls.prompt_tokens + calls.completion_tokens
        cards.append(_Card("revision calls", f"{calls.calls:,}", f"{tokens:,} tokens"))
    return cards


def _change_card(metric: Metric, found: Difference) -> _Card:
    decimals, change = metric.decimals, found.change
    confidence = f" (95 % CI {interval_text(change, decimals)})" if change.interval else ""
    value = f"{number(found.before.mean, decimals)} → {number(found.after.mean, decimals)}"
    return _Card(metric.label, value, f"{number(change.mean, decimals, signed=True)}{confidence}")

"""The report as one self-contained HTML file: no script, no network, readable in ten years.

All text of models and users passes through Jinja2's autoescaping; only the SVG drawn here and the
stylesheet are inserted as they are.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from figa_core.evaluation.statistics import Estimate
from figa_core.files import write_whole
from figa_core.records import EditClass
from figa_core.report import plots
from figa_core.report.comparison import Metric, compare, difference, interval_text, number
from figa_core.report.configuration import setting_text
from figa_core.report.data import ReportData
from figa_core.report.sentences import comparison_sentences, result_sentence

_TEMPLATES = Path(__file__).parent / "templates"


def render_report(data: ReportData) -> str:
    """The whole HTML document as text; equal data gives equal bytes."""
    comparison = compare(data)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            sentence=result_sentence(data),
            further=comparison_sentences(data),
            tone=_tone(data),
            cards=_cards(data),
            funnel=data.funnel.rows(),
            comparison=comparison,
            histograms=plots.reward_histograms(data.rewards),
            curves=plots.training_curves(data.curves),
            differences=plots.difference_intervals(comparison),
            configuration=_masked(data.configuration),
            metric_names={Metric.VERIFIER: "verifier, of 100", Metric.REWARD: "mean reward"},
            EditClass=EditClass,
        )
    )


def write_report(data: ReportData, path: Path) -> None:
    """Render to `path`, whole or not at all: a reader never sees half a report."""
    text = render_report(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode(errors="replace"))  # a lone surrogate of a model must not end a run


@cache
def _environment() -> Environment:
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
        edit=_edit_class,
        seconds=duration,
        marked=marked,
    )
    return environment


def with_error(value: Estimate, decimals: int) -> str:
    """Such as "81.9 ± 0.6" (standard error), or the bare mean where one value has none."""
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
    """Leading white space, left unmarked, and the marked rest; white space alone is made visible."""
    rest = text.lstrip(" ")
    if rest.strip():
        return text[: len(text) - len(rest)], rest
    return "", text.replace(" ", "␣").replace("\t", "⇥").replace("\n", "↵\n")


def _edit_class(edit: EditClass) -> str:
    return edit.name.lower().replace("_", "-")


def _masked(configuration: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The configuration once more through the masks: a report is passed around."""
    return {
        section: {name: setting_text(name, value) for name, value in settings.items()}
        for section, settings in configuration.items()
    }


def _tone(data: ReportData) -> str:
    """The header's colour: better, worse, or open."""
    if data.base is None or data.main is None or data.main.is_same_model(data.base):
        return "open"
    for metric in Metric:
        change = difference(data.base, data.main, metric).change
        if change.n:
            if not change.excludes_zero:
                return "open"
            return "better" if (change.mean or 0) > 0 else "worse"
    return "open"


def _cards(data: ReportData) -> list[dict[str, str]]:
    """The few figures a reader takes away: label, value, detail."""
    cards = []
    if data.base is not None and data.main is not None:
        for metric in Metric:
            found = difference(data.base, data.main, metric)
            if found.change.n:
                cards.append(_change_card(metric, found.before, found.after, found.change))
    if data.funnel.steps:
        first, last = data.funnel.steps[0], data.funnel.steps[-1]
        cards.append(
            {
                "label": f"rows {last.name}",
                "value": f"{last.count:,}",
                "detail": f"of {first.count:,} {first.name}",
            }
        )
    if data.revision_calls is not None:
        tokens = data.revision_calls.prompt_tokens + data.revision_calls.completion_tokens
        cards.append(
            {
                "label": "revision calls",
                "value": f"{data.revision_calls.calls:,}",
                "detail": f"{tokens:,} tokens",
            }
        )
    return cards


def _change_card(metric: Metric, before: Estimate, after: Estimate, change: Estimate) -> dict[str, str]:
    label = "verifier, of 100" if metric is Metric.VERIFIER else "mean reward"
    decimals = metric.decimals
    confidence = f" (95 % CI {interval_text(change, decimals)})" if change.interval else ""
    return {
        "label": label,
        "value": f"{number(before.mean, decimals)} → {number(after.mean, decimals)}",
        "detail": f"{number(change.mean, decimals, signed=True)}{confidence}",
    }

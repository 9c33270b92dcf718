"""A study of the reward model's quality as one self-contained HTML file, in the style of the run's report."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figa_core.report.html import environment
from figa_core.report.plots import plain_axes, short, style_of
from figa_core.report.svg import FAINT, GRID, INK, SERIES, Cell, Drawing, drawing
from figa_core.study.reward import text
from figa_core.study.reward.data import RewardStudy, VariantOutcome

_MARKERS = ("o", "s", "^")  # where the colours begin again
_Interval = tuple[float, float] | None


def render_reward_study(study: RewardStudy) -> str:
    """The whole HTML document as text; equal data gives equal bytes."""
    template = environment().get_template("reward_study.html.j2")
    return template.render(
        study=study,
        sentences=list(text.sentences(study)),
        troubles=list(text.troubles(study)),
        header=text.HEADER,
        rows=[text.cells(study, each) for each in study.variants],
        by_accuracy=by_accuracy(study),
        text=text,
    )


def by_accuracy(study: RewardStudy) -> Drawing | None:
    """Result and mistakes over the reward model's accuracy, with intervals in both directions."""
    shown = [each for each in study.variants if each.accuracy is not None and each.accuracy.share is not None]
    shown = [each for each in shown if each.key in study.scores or each.mistakes is not None]
    if not shown:
        return None

    def draw(figure: Figure, wide: bool) -> None:
        grid = figure.subplots(1, 2, squeeze=False) if wide else figure.subplots(2, 1, squeeze=False)
        result, mistakes = grid.ravel()
        for place, each in enumerate(shown):
            look = (style_of(place)["color"], _MARKERS[place // len(SERIES) % len(_MARKERS)])
            score, wrong = study.scores.get(each.key), each.mistakes
            if score is not None and score.mean is not None:
                _cross(result, each, score.mean, score.interval(), look, short(each.label, 28))
            if wrong is not None and wrong.share is not None:
                _cross(mistakes, each, 100 * wrong.share, _percent(wrong.interval()), look, None)
        if study.base_score.mean is not None:
            line = {"color": FAINT, "linewidth": 1, "linestyle": (0, (4, 3))}
            result.axhline(study.base_score.mean, label="base model", **line)
        for axes, title in ((result, "verifier, of 100"), (mistakes, "pairs with Ỹ not better, %")):
            axes.set_xlabel("pairwise accuracy of the reward, %", color=INK)
            axes.grid(axis="y", color=GRID, linewidth=0.8)
            plain_axes(axes, title)
        handles, labels = result.get_legend_handles_labels()
        columns = 4 if wide else 1
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False, labelcolor=INK)

    description = (
        "The result and the share of mistakes over each reward's accuracy; the table has the numbers."
    )
    return drawing("reward-accuracy", draw, 4.2, 6.4 + 0.25 * len(shown), description, _table(study, shown))


def _cross(
    axes: Axes,
    each: VariantOutcome,
    height: float,
    interval: _Interval,
    look: tuple[str, str],
    label: str | None,
) -> None:
    """A point with its intervals; `look` is its colour and its marker."""
    colour, marker = look
    assert each.accuracy is not None
    at = 100 * (each.accuracy.share or 0.0)
    style = {"color": colour, "linewidth": 1.6, "alpha": 0.6}
    if (across := _percent(each.accuracy.interval())) is not None:
        axes.plot(across, (height, height), **style)
    if interval is not None:
        axes.plot((at, at), interval, **style)
    axes.plot([at], [height], marker=marker, markersize=6, linestyle="", color=colour, label=label)


def _percent(interval: _Interval) -> _Interval:
    return None if interval is None else (100 * interval[0], 100 * interval[1])


def _table(study: RewardStudy, shown: list[VariantOutcome]) -> list[list[Cell]]:
    names = ("accuracy", "verifier of 100", "mistakes")
    table: list[list[Cell]] = [
        ["reward", *(f"{name}{end}" for name in names for end in ("", " from", " to"))]
    ]
    for each in shown:
        score, cells = study.scores.get(each.key), list[Cell]()
        known = None if score is None else (score.mean, score.interval())
        for found in (_of(each.accuracy), known, _of(each.mistakes)):
            value, interval = found or (None, None)
            cells += [value, *(interval or (None, None))]
        table.append([each.label, *cells])
    return table


def _of(found: "text.Accuracy | None") -> tuple[float | None, _Interval] | None:
    return None if found is None else (found.share, found.interval())

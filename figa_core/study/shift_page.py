"""A study of the distribution shift as one self-contained HTML file, in the style of the run's report."""

from matplotlib.figure import Figure

from figa_core.report.html import environment
from figa_core.report.plots import plain_axes, short, style_of
from figa_core.report.svg import GRID, INK, Cell, Drawing, drawing
from figa_core.study import tables
from figa_core.study.data import ShiftStudy


def render_shift(study: ShiftStudy, created_at: str) -> str:
    """The whole HTML document as text; equal data gives equal bytes."""
    template = environment().get_template("shift.html.j2")
    return template.render(
        study=study,
        created_at=created_at,
        sentences=list(tables.sentences(study)),
        nll=tables.nll_rows(study),
        equal_data=tables.equal_data_rows(study) if study.equal_data else [],
        distances=tables.distance_rows(study),
        answers=tables.answer_rows(study) if study.answers else [],
        shifts=shifts(study),
    )


def shifts(study: ShiftStudy) -> Drawing | None:
    """NLL(answer) − NLL(Ŷ) under each model, with its 95 % interval; None without any."""
    rows = [
        (model, answer, found)
        for model, of in study.shifts.items()
        for answer, found in of.items()
        if found.mean is not None
    ]
    if not rows:
        return None
    places = {answer: place for place, answer in enumerate(dict.fromkeys(answer for _, answer, _ in rows))}

    def draw(figure: Figure, wide: bool) -> None:
        axes = figure.subplots()
        for place, (_, answer, found) in enumerate(rows):
            style = {"color": style_of(places[answer])["color"]}
            if found.interval is not None:
                axes.plot(found.interval, (place, place), linewidth=3, alpha=0.75, **style)
            axes.plot([found.mean or 0.0], [place], marker="o", markersize=6, linestyle="", **style)
        names = [f"{short(model, 30 if wide else 14)}, {tables.SYMBOLS[answer]}" for model, answer, _ in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.4, -0.65)
        axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.set_xlabel("NLL less that of Ŷ, nats a token", color=INK)
        plain_axes(axes, "shift by model and answer")
        axes.tick_params(axis="y", labelcolor=INK, labelsize=10)

    table: list[list[Cell]] = [["model", "answer", "NLL less that of Ŷ", "95 % from", "95 % to", "pairs"]]
    for model, answer, found in rows:
        table.append([model, answer, found.mean, *(found.interval or (None, None)), found.n])
    height = 0.9 + 0.4 * len(rows)
    description = "How much less likely than its own samples each model finds the answers; the table has it."
    return drawing("shift-nll", draw, height, height, description, table)

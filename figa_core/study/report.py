"""A study of the distribution shift in a terminal: tables and sentences."""

from collections.abc import Iterator

from rich.table import Table

from figa_core.study import tables
from figa_core.study.data import ShiftStudy


def shown(study: ShiftStudy) -> Iterator[Table | str]:
    """What a person sees, from top to bottom."""
    title = f"NLL in nats a token, {study.pairs:,} of {study.of_pairs:,} pairs"
    yield _table(title, _turned(tables.nll_rows(study)))
    yield _table("How far from Ŷ", _turned(tables.distance_rows(study)))
    if study.equal_data:
        yield _table("Trained on equally many pairs, nats a token", tables.equal_data_rows(study))
    if study.answers:
        title = "Held-out answers after the training, against the base's"
        yield _table(title, _turned(tables.answer_rows(study)))
    yield from tables.sentences(study)


def _turned(rows: list[list[str]]) -> list[list[str]]:
    """A line for each measure: a terminal has 80 columns, and a run few models."""
    return [list(column) for column in zip(*rows, strict=True)]


def _table(title: str, rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, overflow="fold")  # no figure loses its end
    for row in rows[1:]:
        table.add_row(*row)
    return table

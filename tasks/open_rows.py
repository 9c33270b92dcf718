"""Rows that an LLM was asked about and that are still open: in words, and whether a run may continue."""

from collections.abc import Iterable
from typing import Protocol

from figa_core.errors import BudgetReachedError, LLMError, OpenRevisionsError
from figa_core.storage.causes import Cause
from tasks.results import StageCounts

_WORDS_MAX = 240
_ROUNDING = 1e-6  # of a share times a number of rows


class Asked(Protocol):
    """The result of such a stage; see `tasks.revised.Revised`."""

    @property
    def counts(self) -> StageCounts: ...
    @property
    def open_by_kind(self) -> dict[str, int]: ...
    @property
    def open_rows(self) -> int: ...
    @property
    def stopped_by(self) -> LLMError | None: ...
    @property
    def open_causes(self) -> tuple[Cause, ...]: ...


def tolerated(rows: int, share_max: float, total: int) -> bool:
    """Whether so many rows of `total` are at most this share of them."""
    return rows <= share_max * total + _ROUNDING


def check_refusal(asked: Asked, failed_share_max: float) -> None:
    """Raises the LLMError that ended a stage early, with the causes, if it left too many rows open.

    The end of the budget is no such error.
    """
    stopped_by = asked.stopped_by
    if stopped_by is None or isinstance(stopped_by, BudgetReachedError):
        return
    if not tolerated(asked.open_rows, failed_share_max, asked.counts.n_in):
        raise type(stopped_by)(f"{stopped_by}{cause_lines(asked.open_causes)}") from stopped_by


def check_open(asked: Asked, failed_share_max: float, *, noun: str, rows: str) -> None:
    """Raises OpenRevisionsError, with why and what to do, if more is open than tolerated.

    Its cause is what ended the stage early, if anything did. `noun` is what is asked for and `rows` what it
    is asked about, both in the plural.
    """
    total = asked.counts.n_in
    if tolerated(asked.open_rows, failed_share_max, total):
        return
    what = f"{open_text(asked.open_by_kind, noun)} of {total:,}"
    causes = cause_lines(asked.open_causes)
    if asked.stopped_by is not None:
        raise OpenRevisionsError(f"{what}: {asked.stopped_by}{causes}") from asked.stopped_by
    raise OpenRevisionsError(
        f"{what}, and revision_batches.failed_share_max tolerates {failed_share_max:.1%}. What was answered "
        f"is stored: Retry in the Prefect UI, or `figa retry-revisions`, asks for these {rows} only and "
        f"continues.{causes}"
    )


def open_text(kinds: dict[str, int], noun: str) -> str:
    """Such as "12 revisions are still open (8 server_error, 4 timeout)"."""
    detail = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    return f"{sum(kinds.values()):,} {noun} are still open ({detail})"


def cause_lines(causes: Iterable[Cause]) -> str:
    """The most frequent causes, one per line, with an example in the provider's words; "" for none."""
    lines = [
        f"\n  {cause.rows:,} × {cause.kind}, for example {cause.example}: {_short(cause.words)}"
        for cause in causes
        if cause.words
    ]
    return f"\nThe most frequent causes:{''.join(lines)}" if lines else ""


def _short(words: str) -> str:
    flat = " ".join(words.split())
    return flat if len(flat) <= _WORDS_MAX else flat[: _WORDS_MAX - 1] + "…"

"""The result of the revise stage, and whether the run may continue with it."""

from collections.abc import Iterable
from dataclasses import dataclass

from figa_core.errors import LLMError, OpenRevisionsError, RefusedRevisionsError
from figa_core.storage.revisions import Cause
from tasks.results import StageCounts

_WORDS_MAX = 240
ROUNDING = 1e-6  # of a share times a number of rows


@dataclass(frozen=True, slots=True)
class Revised:
    """The result of the stage.

    Attributes:
        open_by_kind: rows without an answer, by how their last call ended.
        stopped_by: what ended the stage before its last row: the budget, or the endpoint's refusal.
        open_causes, refused_causes: the most frequent ones.
        refused_rows: rows that the reviser refused for good; no later run asks for them again.
    """

    counts: StageCounts
    open_by_kind: dict[str, int]
    stopped_by: LLMError | None = None
    open_causes: tuple[Cause, ...] = ()
    refused_causes: tuple[Cause, ...] = ()
    refused_rows: int = 0

    @property
    def open_rows(self) -> int:
        """Rows that asking again may settle."""
        return sum(self.open_by_kind.values())


def check_open_rows(revised: Revised, failed_share_max: float) -> None:
    """Raises OpenRevisionsError, with why and what to do, if more rows are open than tolerated."""
    rows = revised.counts.n_in
    if revised.open_rows <= failed_share_max * rows + ROUNDING:
        return
    what, causes = f"{open_rows_text(revised.open_by_kind)} of {rows:,}", cause_lines(revised.open_causes)
    if revised.stopped_by is not None:
        raise OpenRevisionsError(f"{what}: {revised.stopped_by}{causes}")
    raise OpenRevisionsError(
        f"{what}, and revision_batches.failed_share_max tolerates {failed_share_max:.1%}. What was answered "
        "is stored: Retry in the Prefect UI, or `figa retry-revisions`, asks for these rows only and "
        f"continues.{causes}"
    )


def check_refused_rows(revised: Revised, refused_share_max: float) -> None:
    """Raises RefusedRevisionsError if more rows were refused for good than tolerated."""
    rows, refused = revised.counts.n_in, revised.refused_rows
    if refused <= refused_share_max * rows + ROUNDING:
        return
    raise RefusedRevisionsError(
        f"{refused:,} of {rows:,} revisions were refused for good, and revision_batches.refused_share_max "
        f"tolerates {refused_share_max:.1%}. Use a reviser that accepts these prompts, or raise that setting "
        "to continue without these rows: no answer is paid for twice."
        f"{cause_lines(revised.refused_causes)}"
    )


def open_rows_warning(revised: Revised) -> str | None:
    """The warning for a run that continues without some rows; None if every row was settled."""
    if not revised.open_rows:
        return None
    stopped = "" if revised.stopped_by is None else f": {revised.stopped_by}"
    return (
        f"{open_rows_text(revised.open_by_kind)} of {revised.counts.n_in:,}{stopped}. The run continues "
        "without them; `figa retry-revisions` asks for these rows only."
        f"{cause_lines(revised.open_causes)}"
    )


def open_rows_text(kinds: dict[str, int]) -> str:
    """Such as "12 revisions are still open (8 server_error, 4 timeout)"."""
    detail = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    return f"{sum(kinds.values()):,} revisions are still open ({detail})"


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

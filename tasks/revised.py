"""The result of the revise stage, and whether the run may continue with it."""

from dataclasses import dataclass

from figa_core.errors import LLMError, RefusedRevisionsError
from figa_core.storage.causes import Cause
from tasks.open_rows import cause_lines, check_open, open_text, tolerated
from tasks.results import StageCounts

_NOUN = "revisions"


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
    check_open(revised, failed_share_max, noun=_NOUN, rows="rows")


def check_refused_rows(revised: Revised, refused_share_max: float) -> None:
    """Raises RefusedRevisionsError if more rows were refused for good than tolerated."""
    rows, refused = revised.counts.n_in, revised.refused_rows
    if tolerated(refused, refused_share_max, rows):
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
    return open_text(kinds, _NOUN)

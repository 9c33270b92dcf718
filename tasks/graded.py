"""The result of the grade stage, and whether the run may continue with it."""

from dataclasses import dataclass

from figa_core.errors import LLMError, UngradedPairsError
from figa_core.records import GradeStatus
from figa_core.storage import grades
from figa_core.storage.causes import Cause
from figa_core.storage.database import Database
from tasks.open_rows import cause_lines, check_open, open_text, tolerated
from tasks.results import StageCounts

_NOUN = "grades"


@dataclass(frozen=True, slots=True)
class Graded:
    """The result of the stage. `counts` has the pairs whose revision adds a word.

    Attributes:
        open_by_kind: pairs without an answer, by how the last call ended.
        stopped_by: what ended the stage before its last pair: the budget, or the endpoint's refusal.
        open_causes, fallback_causes: the most frequent ones.
    """

    counts: StageCounts
    open_by_kind: dict[str, int]
    stopped_by: LLMError | None = None
    open_causes: tuple[Cause, ...] = ()
    fallback_causes: tuple[Cause, ...] = ()

    @property
    def open_rows(self) -> int:
        """Pairs that asking again may grade."""
        return sum(self.open_by_kind.values())

    @property
    def fallbacks(self) -> int:
        """Pairs that get the Levenshtein weights for good."""
        return self.counts.n_in - self.counts.n_out - self.open_rows


def graded_so_far(database: Database, run_id: str, stopped_by: LLMError | None = None) -> Graded:
    """What is stored of a run's grades; of a run that asks for none, no pairs."""
    statuses = grades.statuses(database, run_id)
    graded = statuses.pop(str(GradeStatus.GRADED), 0)
    return Graded(
        StageCounts(graded + sum(statuses.values()), graded, statuses),
        grades.open_by_kind(database, run_id),
        stopped_by,
        grades.open_causes(database, run_id),
        grades.fallback_causes(database, run_id),
    )


def check_open_grades(graded: Graded, failed_share_max: float) -> None:
    """Raises OpenRevisionsError, with why and what to do, if more grades are open than tolerated."""
    check_open(graded, failed_share_max, noun=_NOUN, rows="pairs")


def check_fallbacks(graded: Graded, fallback_share_max: float) -> None:
    """Raises UngradedPairsError if more pairs have no usable scores than tolerated."""
    pairs = graded.counts.n_in
    if tolerated(graded.fallbacks, fallback_share_max, pairs):
        return
    raise UngradedPairsError(
        f"{graded.fallbacks:,} of {pairs:,} pairs have no usable scores and would get Levenshtein weights; "
        f"grader.fallback_share_max tolerates {fallback_share_max:.1%}. Use a grader that answers in the "
        "form that it is asked for, or raise that setting to continue: no answer is paid for twice."
        f"{cause_lines(graded.fallback_causes)}"
    )


def fallback_line(graded: Graded) -> str | None:
    """What is said about pairs without scores; None if every pair has them."""
    pairs, without = graded.counts.n_in, graded.fallbacks + graded.open_rows
    if not without:
        return None
    detail = ", ".join(f"{count:,} {status}" for status, count in graded.counts.reasons.items())
    return (
        f"{without:,} of {pairs:,} pairs ({without / pairs:.1%}) have no scores by the grader and get "
        f"Levenshtein weights ({detail}){cause_lines((*graded.fallback_causes, *graded.open_causes))}"
    )


def open_grades_text(kinds: dict[str, int]) -> str:
    """Such as "12 grades are still open (8 server_error, 4 timeout)"."""
    return open_text(kinds, _NOUN)

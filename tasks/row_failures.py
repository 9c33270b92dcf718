"""Rows that failed alone, as a stage meets them: counted, stored, and too many of them said."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from figa_core.errors import FigaError
from figa_core.ports import RowFailure
from figa_core.row_failures import Failed, failure_kind, failures_text, hopeless, too_many
from tasks.results import StageCounts

AGAIN = "What was done is stored; the same command continues, and tries these rows again."


class Failures:
    """The failures of a stage that works on `missing` rows."""

    def __init__(self, save: Callable[[Sequence[RowFailure]], None], missing: int) -> None:
        """`save` stores them as they come."""
        self._save, self._missing = save, missing
        self._reasons: Counter[str] = Counter()
        self._first: dict[str, RowFailure] = {}
        self.done = 0

    def add(self, failures: Sequence[RowFailure]) -> None:
        """Store these and count them."""
        if not failures:
            return
        self._save(failures)
        for failure in failures:
            kind = failure_kind(failure.reason)
            self._reasons[kind] += 1
            self._first.setdefault(kind, failure)

    @property
    def rows(self) -> int:
        """Rows that are settled, either way."""
        return self.done + self._reasons.total()

    @property
    def hopeless(self) -> bool:
        """Whether there is no sense in going on."""
        return hopeless(self._reasons.total(), self.rows)

    def so_far(self) -> tuple[int, list[Failed]]:
        """Rows settled in this stage, and why some failed."""
        failed = [
            Failed(kind, rows, self._first[kind].row_id, self._first[kind].reason)
            for kind, rows in self._reasons.items()
        ]
        return self.rows, failed

    def counts(self) -> StageCounts:
        """What the stage came to."""
        return StageCounts(self._missing, self.done, dict(self._reasons.most_common()))


def check_failures(
    found: tuple[int, Iterable[Failed]],
    *,
    what: str,
    advice: str,
    error: type[FigaError],
    forget: Callable[[], None],
) -> None:
    """Raise `error` where too many rows failed, after `forget`, which lets the next run try them again.

    `found` is the number of rows and why some of them failed; `what` such as "responses have no reward".
    """
    rows, failed = found[0], list(found[1])
    count = sum(f.rows for f in failed)
    if too_many(count, rows):
        forget()
        raise error(f"{count:,} of {rows:,} {what}: {failures_text(failed)}. {advice} {AGAIN}")

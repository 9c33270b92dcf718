"""Single rows that fail in a stage: counts and stores them, and ends the stage if there are too many."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from figa_core.errors import FigaError
from figa_core.ports import ProgressCallback, RowFailure
from figa_core.row_failures import Failed, failure_kind, failures_text, hopeless, too_many
from tasks.results import StageCounts

T = TypeVar("T")
_AGAIN = "What is done is stored; the same command continues and tries these rows again."


class Failures:
    """The failures of a stage that works on `missing` rows; `save` stores them as they occur.

    Rows that fail for the reason `no_fault` end no stage, however many there are.
    """

    def __init__(
        self,
        save: Callable[[Sequence[RowFailure]], None],
        missing: int,
        *,
        no_fault: str | None = None,
    ) -> None:
        self._save, self._missing, self._no_fault = save, missing, no_fault
        self._reasons: Counter[str] = Counter()
        self._first: dict[str, RowFailure] = {}
        self._done = 0

    def add(self, failures: Sequence[RowFailure]) -> None:
        """Store and count these."""
        if not failures:
            return
        self._save(failures)
        for failure in failures:
            kind = failure_kind(failure.reason)
            self._reasons[kind] += 1
            self._first.setdefault(kind, failure)

    def settle(
        self,
        batches: Iterable[Sequence[T | RowFailure]],
        save: Callable[[list[T]], int],
        on_progress: ProgressCallback,
    ) -> None:
        """Store each batch: results with `save`, which returns how many are new, and failures.

        Stops early if most of many rows have failed.
        """
        for batch in batches:
            self._done += save([row for row in batch if not isinstance(row, RowFailure)])
            self.add([row for row in batch if isinstance(row, RowFailure)])
            on_progress(self._rows, self._missing)
            if self._hopeless:
                return

    @property
    def _rows(self) -> int:
        return self._done + self._reasons.total()

    @property
    def _hopeless(self) -> bool:
        without = 0 if self._no_fault is None else self._reasons[self._no_fault]
        return hopeless(self._reasons.total() - without, self._rows)

    def check(
        self,
        stored: Callable[[], tuple[int, Sequence[Failed]]],
        *,
        what: str,
        advice: str,
        error: type[FigaError],
        forget: Callable[[], None],
    ) -> StageCounts:
        """The counts of the stage; raises `error` if too many rows failed.

        `stored`: the rows of the run, and why some failed, also in earlier stages. `what`: such as "responses
        have no reward". `forget` is called before the error, so that the next run tries the rows again.
        """
        rows, failed = (self._rows, self._failed()) if self._hopeless else stored()
        failed = [each for each in failed if each.kind != self._no_fault]
        count = sum(each.rows for each in failed)
        if too_many(count, rows):
            forget()
            raise error(f"{count:,} of {rows:,} {what}: {failures_text(failed)}. {advice} {_AGAIN}")
        return StageCounts(self._missing, self._done, dict(self._reasons.most_common()))

    def _failed(self) -> list[Failed]:
        return [
            Failed(kind, rows, self._first[kind].row_id, self._first[kind].reason)
            for kind, rows in self._reasons.items()
        ]

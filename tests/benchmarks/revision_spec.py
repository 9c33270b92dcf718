"""What a contender's process is told and what it tells, as JSON files; the rows they all share.

Nothing of figa_core here: the other contenders' environments import it.
"""

import json
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["ours", "bare", "bare_httpx", "curator", "distilabel"]
NO_LIMIT = 6_000_000
"""Requests a minute that no contender reaches."""
NO_TOKEN_LIMIT = 6_000_000_000
MAX_TOKENS = 1024
_WATCH_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Spec:
    """One contender on one server.

    Attributes:
        rows: JSONL file, see `revision_rows`.
        count: rows to revise; the file is read over again, with other ids, where it holds fewer.
        directory: what the contender keeps: its journal or its cache. Empty at first; kept for a restart.
        requests_per_minute, tokens_per_minute: what the contender is told, where it can be told.
        concurrency: calls under way at once; None takes the contender's own default (the bare client: ours).
        warm_up: rows before CPU is measured.
    """

    kind: Kind
    base_url: str
    model: str
    rows: str
    count: int
    directory: str
    requests_per_minute: int = NO_LIMIT
    tokens_per_minute: int = NO_TOKEN_LIMIT
    concurrency: int | None = None
    warm_up: int = 0

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Spec":
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def read_rows(self) -> Iterator[dict[str, Any]]:
        """The rows, one at a time, each with an `id` of its own."""
        left, round_ = self.count, 0
        while left:
            with Path(self.rows).open(encoding="utf-8") as file:
                for line, _ in zip(file, range(left), strict=False):
                    row = json.loads(line)
                    yield row if round_ == 0 else row | {"id": f"{row['id']}-{round_}"}
                    left -= 1
            round_ += 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a contender made of its rows.

    Attributes:
        answered: rows with a text, those of an earlier start included.
        cpu_ms_per_row: CPU milliseconds a row, all of the process's threads and its children's, after the
            warm-up; the start, imports and reading of rows already done are left out.
        rss_mb: resident memory in MB (1e6 bytes) after every 1 000 rows.
    """

    answered: int
    cpu_ms_per_row: float = 0.0
    rss_mb: tuple[float, ...] = ()

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        """Read what `save` wrote."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**(fields | {"rss_mb": tuple(fields["rss_mb"])}))


class Watch:
    """Counts rows as they are done, with CPU from the end of the warm-up on and memory every 1 000 rows."""

    def __init__(self, warm_up: int) -> None:
        self._warm_up = warm_up
        self._rows = 0
        self._rss_mb: list[float] = []
        self._begun = _cpu_s()

    def row(self) -> None:
        """One more row is done."""
        self._rows += 1
        if self._rows == self._warm_up:
            self._begun = _cpu_s()
        if self._rows % _WATCH_EVERY == 0:
            self._rss_mb.append(_rss_mb())

    def outcome(self, answered: int) -> Outcome:
        """Called after the last row."""
        rows = max(1, (self._rows or answered) - self._warm_up)
        return Outcome(answered, 1000 * (_cpu_s() - self._begun) / rows, tuple(self._rss_mb))


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

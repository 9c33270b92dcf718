"""The spec and the outcome of a contender of the revision benchmark.

It imports nothing of figa_core: the other contenders' environments import it.
"""

import json
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.benchmarks.json_file import JsonFile

Kind = Literal["ours", "bare", "bare_httpx", "curator", "distilabel"]
NO_LIMIT = 6_000_000
"""More requests a minute than any contender sends."""
NO_TOKEN_LIMIT = 6_000_000_000
MAX_TOKENS = 1024
_WATCH_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Spec(JsonFile):
    """One contender on one server.

    Attributes:
        rows: JSONL file, see `revision_rows`.
        count: rows to revise; if the file has fewer, it is read again with other ids.
        directory: for the contender's journal or cache; empty at first, kept for a restart.
        requests_per_minute, tokens_per_minute: the contender's settings, if it has them.
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
    warm_up: int = 0

    def read_rows(self) -> Iterator[dict[str, Any]]:
        """The rows, one at a time, with unique ids."""
        left, round_ = self.count, 0
        while left:
            with Path(self.rows).open(encoding="utf-8") as file:
                for line, _ in zip(file, range(left), strict=False):
                    row = json.loads(line)
                    yield row if round_ == 0 else row | {"id": f"{row['id']}-{round_}"}
                    left -= 1
            round_ += 1


@dataclass(frozen=True, slots=True)
class Outcome(JsonFile):
    """The result of a contender.

    Attributes:
        answered: rows with a text, including those of an earlier start.
        cpu_ms_per_row: CPU milliseconds per row of the process and its children after the warm-up, without
            the start, imports and reading of finished rows.
        rss_mb: resident memory in MB (1e6 bytes) after every 1 000 rows.
    """

    answered: int
    cpu_ms_per_row: float = 0.0
    rss_mb: tuple[float, ...] = ()


class Watch:
    """Counts finished rows, and measures CPU after the warm-up and memory every 1 000 rows."""

    def __init__(self, warm_up: int) -> None:
        self._warm_up = warm_up
        self._rows = 0
        self._rss_mb: list[float] = []
        self._begun = _cpu_s()

    def row(self) -> None:
        """Count a finished row."""
        self._rows += 1
        if self._rows == self._warm_up:
            self._begun = _cpu_s()
        if self._rows % _WATCH_EVERY == 0:
            self._rss_mb.append(_rss_mb())

    def outcome(self, answered: int) -> Outcome:
        """Call it after the last row."""
        rows = max(1, (self._rows or answered) - self._warm_up)
        return Outcome(answered, 1000 * (_cpu_s() - self._begun) / rows, tuple(self._rss_mb))


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

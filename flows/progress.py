"""What a person sees during a run: counts and an ETA, as bars in a terminal and as lines elsewhere.

The command line chooses one with `showing`, and a flow gets it from `current()`. A run that a Prefect worker
started gets lines in its log.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol

from figa_core.ports import ProgressCallback
from flows.terminal.durations import duration
from tasks.results import StageCounts

_LINE_EVERY_S = 5.0


class Progress(Protocol):
    """Shows stages one after another."""

    def stage(self, title: str) -> AbstractContextManager[ProgressCallback]: ...

    def waiting(self, what: str) -> AbstractContextManager[object]: ...

    def line(self, text: str, /) -> None: ...


class Lines:
    """Plain lines; `write` gets each without its end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.line = write

    @contextmanager
    def stage(self, title: str) -> Iterator[ProgressCallback]:
        """At most one line every five seconds."""
        last = time.monotonic()
        first: tuple[float, int] | None = None

        def on_progress(done: int, total: int) -> None:
            nonlocal first, last
            now = time.monotonic()
            if first is None:
                first = (now, done)  # before is an engine's start, which is no part of the speed
            if now - last >= _LINE_EVERY_S:
                last = now
                left = eta_text(now - first[0], done - first[1], total - done)
                self.line(f"{title}: {done:,} of {total:,}{left}")

        yield on_progress

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """One line before something that takes seconds and shows nothing itself."""
        self.line(what)
        yield


def eta_text(elapsed_s: float, done: int, left_to_do: int) -> str:
    """Such as ", 12 s left", from `done` rows in `elapsed_s` seconds; empty if that is unknown."""
    if done <= 0 or left_to_do <= 0:
        return ""
    return f", {duration(elapsed_s / done * left_to_do / 60)} left"


def result_line(title: str, counts: StageCounts, seconds: float) -> str:
    """A finished stage: rows in and out, how long it took, and why rows were left out."""
    rows = f"{counts.n_in:,} → {counts.n_out:,}" if counts.n_in else "nothing left to do"
    line = f"{title:<34}{rows:>20}  {seconds:6.1f} s"
    if counts.n_in != counts.n_out and counts.reasons:
        line += "   " + ", ".join(f"{count:,} {reason}" for reason, count in counts.reasons.items())
    return line


_current: ContextVar[Progress | None] = ContextVar("figa_progress", default=None)


@contextmanager
def showing(progress: Progress) -> Iterator[None]:
    """Make `progress` the one that flows in this context use."""
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Progress:
    """The progress chosen by `showing`, or lines in the log of the Prefect run."""
    chosen = _current.get()
    if chosen is not None:
        return chosen
    from prefect.logging import get_run_logger

    return Lines(get_run_logger().info)

"""What a person sees while a run works: counts and an ETA, as bars in a terminal and as lines elsewhere.

A flow asks for `current()`; the command line chooses what that is with `showing`. A run that a Prefect
worker started has nothing chosen, and gets lines in the run's log.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol

from figa_core.ports import ProgressCallback
from tasks.results import StageCounts

_LINE_EVERY_S = 5.0
_TITLE_WIDTH = 34


class Progress(Protocol):
    """Shows stages one after another."""

    def stage(self, title: str) -> AbstractContextManager[ProgressCallback]: ...

    def waiting(self, what: str) -> AbstractContextManager[object]: ...

    def line(self, text: str, /) -> None: ...


class Lines:
    """Plain lines: a stage's beginning, now and then how far it is."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """`write` gets each line without its end."""
        self._write = write

    def line(self, text: str, /) -> None:
        """One line."""
        self._write(text)

    @contextmanager
    def stage(self, title: str) -> Iterator[ProgressCallback]:
        """Lines for one stage, at most one every five seconds."""
        last = time.monotonic()
        first: tuple[float, int] | None = None

        def on_progress(done: int, total: int) -> None:
            nonlocal first, last
            now = time.monotonic()
            if first is None:
                # What came before the first rows is the start of an engine: no speed to go by.
                first = (now, done)
            if now - last >= _LINE_EVERY_S:
                last = now
                left = eta_text(now - first[0], done - first[1], total - done)
                self.line(f"{title}: {done:,} of {total:,}{left}")

        yield on_progress

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """One line before something that takes seconds and says nothing itself."""
        self.line(what)
        yield


def eta_text(elapsed_s: float, done: int, left_to_do: int) -> str:
    """Such as ", 12 s left", from `done` rows in `elapsed_s` seconds; empty where nothing can be said."""
    if done <= 0 or left_to_do <= 0:
        return ""
    left = elapsed_s / done * left_to_do
    return f", {left:.0f} s left" if left < 120 else f", {left / 60:.0f} min left"


def result_line(title: str, counts: StageCounts, seconds: float) -> str:
    """A finished stage: what went in and came out, how long it took, and why rows stayed behind."""
    rows = f"{counts.n_in:,} → {counts.n_out:,}" if counts.n_in else "nothing left to do"
    line = f"{title:<{_TITLE_WIDTH}}{rows:>20}  {seconds:6.1f} s"
    lost = counts.n_in - counts.n_out
    if lost and counts.reasons:
        line += "   " + ", ".join(f"{count:,} {reason}" for reason, count in counts.reasons.items())
    return line


_current: ContextVar[Progress | None] = ContextVar("figa_progress", default=None)


@contextmanager
def showing(progress: Progress) -> Iterator[None]:
    """Make `progress` the one that flows in this context show themselves on."""
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

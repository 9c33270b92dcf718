"""Progress bars for a run in a terminal; they satisfy `flows.progress.Progress`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from figa_core.ports import ProgressCallback


class _Counts(ProgressColumn):
    """Rows done and rows in all; empty until they are known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.completed:,.0f} of {task.total:,.0f}")


class Bars:
    """A bar for the running stage, below one line for each finished stage."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str, /) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[ProgressCallback]:
        """A bar that disappears at the end of the stage."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            _Counts(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bars:
            bar = bars.add_task(title, total=None)
            yield lambda done, total: bars.update(bar, completed=done, total=total)

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """A bar without counts."""
        return self.stage(what)

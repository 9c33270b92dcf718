"""Progress bars, for a run in a terminal (`flows/progress.py` is what the flows know of it)."""

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
    """Rows done of rows in all; nothing as long as neither is known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.completed:,.0f} of {task.total:,.0f}")


class Bars:
    """A bar for the stage at work, above it a line for each finished one."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str, /) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, highlight=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[ProgressCallback]:
        """A bar while the stage works; it vanishes with it."""
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
        """A stage that counts nothing."""
        return self.stage(what)

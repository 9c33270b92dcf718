"""Tells a flow's stages one after another: shows each as it works, and keeps the time each took."""

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from figa_core.ports import ProgressCallback
from figa_core.processes import interruption
from figa_core.records import Stage
from flows.server.progress_artifact import progress_artifact
from flows.terminal.progress import Progress, result_line
from tasks.results import StageResult


class Story:
    """`seconds` is what each stage took so far, by its title."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.seconds = progress, dict[str, float]()

    async def tell(
        self,
        title: str,
        stage: Callable[..., Any],
        *arguments: Any,
        counted: bool = True,
        stopping: str = "what is done is stored",
        **named: Any,
    ) -> Any:
        """Run a stage and hand back its result; `counted`: whether it reports its progress.

        `stopping`: what comes first if somebody stops the run here, for the person who does.
        """
        interruption.check()
        begun = time.monotonic()
        with interruption.doing(f"{title}; {stopping}"), showing_stage(self.progress, title) as on_progress:
            if counted:
                named["on_progress"] = _stoppable(stage, on_progress)
            try:
                result = stage(*arguments, **named)
                if inspect.isawaitable(result):
                    result = await result
            except Exception:
                interruption.check()  # an error of something that was stopped is no error of the run
                raise
        self.seconds[title] = time.monotonic() - begun
        self.progress.line(result_line(title, _counts(result), self.seconds[title]))
        return result


def _stoppable(stage: Callable[..., Any], on_progress: ProgressCallback) -> ProgressCallback:
    """Between two pieces of work, look whether somebody asked to stop: a signal that came where Python cannot
    raise is noticed here. A stage that awaits is cancelled instead, and must not be disturbed as it ends.
    """
    if inspect.iscoroutinefunction(getattr(stage, "fn", stage)):
        return on_progress

    def looks_around(done: int, total: int) -> None:
        on_progress(done, total)
        interruption.check()

    return looks_around


@contextmanager
def showing_stage(progress: Progress, title: str) -> Iterator[ProgressCallback]:
    """A stage's progress, where the run shows itself and as an artifact in the Prefect UI."""
    with progress.stage(title) as on_progress, progress_artifact(title) as note:

        def both(done: int, total: int) -> None:
            on_progress(done, total)
            note(done, total)

        yield both


def now() -> str:
    """The time as reports show it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _counts(result: Any) -> StageResult:
    if isinstance(result, StageResult):
        return result
    return getattr(result, "result", None) or StageResult(Stage.REPORT, 1, 1)

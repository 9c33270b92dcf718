"""A flow's stages one after another: shows the progress of each and measures its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from figa_core.ports import ProgressCallback
from figa_core.processes import interruption
from flows.progress import Progress, result_line
from flows.server.progress_artifact import progress_artifact
from tasks.results import StageCounts

STORED = "what is done is stored"
"""What a person reads who stops a stage that stores each batch."""


class RunningStage:
    """A stage inside `Story.stage`; the block sets `counts` to the stage's result.

    Stages take `on_progress`. An async stage takes `show`: it is cancelled when the run is stopped, and must
    not be interrupted while it cleans up.
    """

    counts: StageCounts

    def __init__(self, show: ProgressCallback) -> None:
        self.show = show

    def on_progress(self, done: int, total: int) -> None:
        """Show the progress, then stop between two pieces of work if the run was asked to stop.

        This also notices a signal that arrived where Python cannot raise.

        Raises:
            InterruptedRunError: the run was asked to stop.
        """
        self.show(done, total)
        interruption.check()


class Story:
    """`seconds` is the time of each finished stage by its title."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.seconds = progress, dict[str, float]()

    @contextmanager
    def stage(self, title: str, *, stopping: str = STORED) -> Iterator[RunningStage]:
        """Show a stage's progress while the block runs it, then a line with its counts and its time.

            with story.stage("generate") as stage:
                stage.counts = generate(..., on_progress=stage.on_progress)

        A person who stops the run here is shown `stopping`: what happens first.

        Raises:
            InterruptedRunError: the run was asked to stop, before the block or before it failed.
        """
        interruption.check()
        begun = time.monotonic()
        with interruption.doing(f"{title}; {stopping}"), showing_stage(self.progress, title) as show:
            stage = RunningStage(show)
            try:
                yield stage
            except Exception:
                interruption.check()  # a failure because the run is stopped is not an error of the run
                raise
        self.seconds[title] = time.monotonic() - begun
        self.progress.line(result_line(title, stage.counts, self.seconds[title]))


@contextmanager
def showing_stage(progress: Progress, title: str) -> Iterator[ProgressCallback]:
    """Show a stage's progress both on `progress` and as an artifact in the Prefect UI."""
    with progress.stage(title) as on_progress, progress_artifact(title) as note:

        def both(done: int, total: int) -> None:
            on_progress(done, total)
            note(done, total)

        yield both

"""TensorBoard: event files below the workspace, written by tensorboardX.

    tensorboard --logdir WORKSPACE/tracking/tensorboard

It has no files of its own to keep, so a report is kept as its path.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figa_core.tracking.tracker import Entry, Note, TrackedRun


class TensorBoard:
    """A directory of event files for each training; a resumed training adds a file there."""

    def __init__(self, local: Path, _note: Note) -> None:
        self._local = local / "tensorboard"
        self._step = 0

    def start(self, run: TrackedRun, entry: Entry | None) -> Entry:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]

        name = "".join(c if c.isalnum() or c in "-_." else "-" for c in run.name)
        directory = self._local / name
        self._writer: Any = SummaryWriter(str(directory))
        now = Entry(name, str(directory))
        if now != entry:
            self._writer.add_text("settings", _table(run.settings), 0)
        return now

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._step = step
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self._writer.flush()

    def summarise(self, step: int, figures: Mapping[str, float], settings: Mapping[str, str]) -> None:
        self.log(step, figures)
        if settings:
            self._writer.add_text("settings of the run", _table(settings), step)

    def artifact(self, path: Path) -> None:
        self._writer.add_text(path.name, f"`{path}`", self._step)

    def finish(self, *, succeeded: bool) -> None:  # noqa: ARG002 - it shows no outcome
        self._writer.close()


def _table(settings: Mapping[str, object]) -> str:
    """As Markdown, which TensorBoard shows."""
    rows = (f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in settings.items())
    return "\n".join(["| setting | value |", "|---|---|", *rows])

"""trackio: a Space or a server that TRACKIO_SPACE_ID or TRACKIO_SERVER_URL names, otherwise files.

    TRACKIO_DIR=WORKSPACE/tracking/trackio trackio show

What cannot be sent to a Space or a server is kept in the files, and trackio sends it with the next run.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from figa_core.tracking.tracker import OFFLINE, Entry, Note, TrackedRun


class Trackio:
    """A run of the project, found again by its name."""

    def __init__(self, local: Path, note: Note) -> None:
        self._local, self._note, self._noted = local / "trackio", note, False

    def start(self, run: TrackedRun, entry: Entry | None) -> Entry:  # noqa: ARG002 - found by its name
        os.environ.setdefault("TRACKIO_DIR", str(self._local))  # read when it is imported
        with self._told():
            import trackio  # pyright: ignore[reportMissingImports]

            self._run: Any = trackio.init(
                project=run.project,
                name=run.name,
                group=run.group,
                config=dict(run.settings),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        there = (
            os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL", "").partition("?")[0]
        )
        return Entry(run.name, there or OFFLINE)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        with self._told():
            self._run.log(dict(figures), step=step)

    def flush(self) -> None:
        pass  # a thread of trackio writes twice a second

    def summarise(self, step: int, figures: Mapping[str, float], settings: Mapping[str, str]) -> None:
        self._run.config.update(settings)
        self.log(step, figures)

    def artifact(self, path: Path) -> None:
        with self._told():
            self._run.log_artifact(path, name=path.stem, type="report")

    def finish(self, *, succeeded: bool) -> None:  # noqa: ARG002 - it shows no outcome
        with self._told():
            self._run.finish()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say trackio's first warning: it raises nothing when a service cannot be used."""
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", UserWarning)
            yield
        if found and not self._noted:
            self._noted = True
            self._note(f"trackio: {found[0].message}")

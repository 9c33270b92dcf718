"""What an experiment tracker is to this package, and what a training tells it.

Each adapter is a module beside this one and imports its library when it starts. It runs in a process of its
own (`__main__.py`), so that a library that hangs, prints, patches or ends its process harms no training.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Note = Callable[[str], None]
"""Shows a person one sentence as a warning."""

ONLINE, OFFLINE = "online", "offline"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A training as trackers show it.

    Attributes:
        name: for people, such as "support: FIGA 1a2b3c4d".
        project: in MLflow, the experiment.
        group: the workspace's name.
        settings: by names such as "training.learning_rate".
    """

    name: str
    project: str
    group: str
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """The run in a tracker: its id there, and the `place`: an address, a directory, "online" or "offline".

    Another entry than the one before means that the tracker has none of the training's figures yet.
    """

    run: str
    place: str


class Tracker(Protocol):
    """One training in one tracker.

    Any method may raise any exception; then it is tried again later, or given up with a warning. It may also
    never return: then its process is ended.
    """

    def start(self, run: TrackedRun, entry: Entry | None) -> Entry:
        """Begin, or continue the `entry` that this training had before; returns the one it has now.

        If the service cannot be reached or refuses the key, it falls back to files, and says so once.
        """
        ...

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """The figures of one step, in increasing order of steps; the values are finite."""
        ...

    def flush(self) -> None:
        """Return when what was logged would survive the end of this process."""
        ...

    def summarise(self, step: int, figures: Mapping[str, float], settings: Mapping[str, str]) -> None:
        """Figures of the finished training and of its evaluation, after its last step, and more settings."""
        ...

    def artifact(self, path: Path) -> None:
        """Keep a file with the run; a tracker without files keeps its path."""
        ...

    def finish(self, *, succeeded: bool) -> None:
        """End the run. It may be continued later."""
        ...

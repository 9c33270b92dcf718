"""What a training's directory holds about trackers.

    OUTPUT/tracking/run.json        the training as trackers show it
    OUTPUT/tracking/results.json    its evaluation and report, once there are any
    OUTPUT/tracking/NAME.json       what that tracker has already
    OUTPUT/tracking/NAME.lock       held by the process that sends to it

They decide what is sent again. A file that is missing or damaged only has figures sent a second time.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from figa_core.files import write_whole
from figa_core.tracking.tracker import Entry, TrackedRun


@dataclass(frozen=True, slots=True)
class Results:
    """What is known once a training's model is judged: figures by name, more settings, and files to keep."""

    figures: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    artifacts: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Equal for equal figures and settings: a report that was only written again is not sent again."""
        content = json.dumps([dict(self.figures), dict(self.settings)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Sent:
    """What a tracker has: the steps up to `step`, `all_steps` of a finished training, and some results."""

    entry: Entry | None = None
    step: int = 0
    all_steps: bool = False
    results: str | None = None


def directory_of(output: Path) -> Path:
    return output / "tracking"


def lock_of(output: Path, tracker: str) -> Path:
    return directory_of(output) / f"{tracker}.lock"


def write_run(output: Path, run: TrackedRun) -> None:
    """Raises OSError if it cannot be written; so do the other functions that write."""
    _write(directory_of(output) / "run.json", asdict(run))


def read_run(output: Path) -> TrackedRun:
    """Raises OSError, ValueError or TypeError if there is none that can be read."""
    return TrackedRun(**json.loads((directory_of(output) / "run.json").read_bytes()))


def has_run(output: Path) -> bool:
    """Whether trackers were to follow this training."""
    return (directory_of(output) / "run.json").is_file()


def write_results(output: Path, results: Results) -> None:
    _write(directory_of(output) / "results.json", asdict(results))


def read_results(output: Path) -> Results | None:
    """None if nothing is judged yet."""
    fields = _read(directory_of(output) / "results.json")
    return Results(**{**fields, "artifacts": tuple(fields["artifacts"])}) if "artifacts" in fields else None


def write_sent(output: Path, tracker: str, sent: Sent) -> None:
    _write(directory_of(output) / f"{tracker}.json", asdict(sent))


def read_sent(output: Path, tracker: str) -> Sent:
    """What the tracker has; nothing if that is not known."""
    fields = _read(directory_of(output) / f"{tracker}.json")
    try:
        entry = fields.pop("entry", None)
        return Sent(**fields, entry=Entry(**entry) if entry else None)
    except TypeError:
        return Sent()


def is_sent(output: Path, tracker: str) -> bool:
    """Whether the tracker has everything about a finished training that is known now."""
    sent, results = read_sent(output, tracker), read_results(output)
    return sent.all_steps and (results is None or results.digest == sent.results)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=2).encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

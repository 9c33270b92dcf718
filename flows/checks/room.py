"""Disk space: whether checkpoints and trained models fit into the workspace."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from figa_core.config import PipelineConfig
from figa_core.files import files_below
from figa_core.findings import Finding, problem, warning
from figa_core.training.room import size_of, training_bytes
from flows.checks.facts import Facts
from flows.checks.settings import objectives
from flows.checks.workspace import nearest_existing

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def check_room(facts: Facts) -> Iterator[Finding]:
    """A training's files fit; the files of earlier trainings in the workspace count as free space."""
    config, directory = facts.config, facts.config.workspace.path
    least, most = trainings_bytes(config)
    earlier = bytes_in(directory / "trainings")
    free = shutil.disk_usage(nearest_existing(directory)).free
    yield from room_findings(directory, least=least - earlier, most=most - earlier, free=free)


def room_findings(directory: Path, *, least: int, most: int, free: int) -> Iterator[Finding]:
    """A problem if the least that trainings need does not fit, a warning if the most does not."""
    place = f"{directory} has {size_text(free)} left"
    if free < least:
        yield problem(
            "workspace.path",
            f"{place}, and a training takes at least {size_text(least)} there: one checkpoint and the "
            "trained model. Free space, or choose a larger disk.",
        )
    elif free < most:
        yield warning(
            "workspace.path",
            f"{place}, and the trainings may take {size_text(most)} there: checkpoints and trained models.",
        )


def trainings_bytes(config: PipelineConfig) -> tuple[int, int]:
    """The least and the most bytes that a run's trainings need; all but the last keep only a model."""
    training = config.training
    trained, exported = size_of(config.generation.model, training.lora.rank)
    one = partial(training_bytes, training, trained, exported_bytes=exported)
    others = (len(objectives(config)) - 1) * exported
    return one(steps=1), one(steps=training.max_steps or 10**9) + others


def bytes_in(directory: Path) -> int:
    """The bytes of all files below a directory; 0 if it does not exist."""
    return sum(state.st_size for _, state in files_below(directory))


def size_text(count: int) -> str:
    """Such as "640 kB" or "13 GB"."""
    size, unit = float(max(count, 0)), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.2g} {_UNITS[unit]}" if size < 10 else f"{size:,.0f} {_UNITS[unit]}"

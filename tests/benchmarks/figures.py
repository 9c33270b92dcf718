"""Figures with their spread; printing and storing them."""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, RenderableType

BENCH = Path("build/bench")
PARTS = ("recomputing", "loading", "memory_plan", "lora")
"""The benchmarks of parts of a training: their figures are in training.json too."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, smallest and largest of repeats."""

    median: float
    least: float
    largest: float

    def __str__(self) -> str:
        return f"{self.median:,.4g} [{self.least:,.4g}, {self.largest:,.4g}]"

    def named(self, name: str) -> dict[str, float]:
        """Three figures, for the JSON file."""
        return {name: self.median, f"{name}_min": self.least, f"{name}_max": self.largest}


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def log(line: str) -> None:
    """Print a line about the progress."""
    print(line, file=sys.stderr, flush=True)


def show(*parts: RenderableType) -> None:
    """Print tables and lines; in a log file they are wide enough not to wrap."""
    Console(width=None if sys.stdout.isatty() else 160).print(*parts, sep="\n", highlight=False)


def save(name: str, figures: Mapping[str, float], *, keeping: Sequence[str] = ()) -> None:
    """Write build/bench/NAME.json, one flat object of numbers.

    What is there already stays if its name begins with one of `keeping` and an underscore.
    """
    BENCH.mkdir(parents=True, exist_ok=True)
    kept = {
        key: value for key, value in _saved(name).items() if key.startswith(tuple(f"{k}_" for k in keeping))
    }
    rounded = {key: round(value, 6) for key, value in figures.items()}
    (BENCH / f"{name}.json").write_text(json.dumps(kept | rounded, indent=2) + "\n")


def add(name: str, figures: Mapping[str, float]) -> None:
    """As `save`, and keep the other figures of the file: several benchmarks write into it."""
    save(name, _saved(name) | dict(figures))


def save_part(whole: str, part: str, figures: Mapping[str, float]) -> None:
    """Write them into build/bench/WHOLE.json too, each with the name of the part before its own."""
    add(whole, {key if key.startswith(part) else f"{part}_{key}": value for key, value in figures.items()})


def _saved(name: str) -> dict[str, float]:
    path = BENCH / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else {}

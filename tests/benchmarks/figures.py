"""Figures with their spread, and where they are kept."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BENCH = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and largest of repeats."""

    median: float
    least: float
    largest: float

    def __str__(self) -> str:
        return f"{self.median:,.4g} [{self.least:,.4g}, {self.largest:,.4g}]"


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def save(name: str, figures: Mapping[str, float]) -> Path:
    """Write build/bench/NAME.json, one flat object of numbers."""
    BENCH.mkdir(parents=True, exist_ok=True)
    path = BENCH / f"{name}.json"
    path.write_text(json.dumps({key: round(value, 6) for key, value in figures.items()}, indent=2) + "\n")
    return path

"""The results of the training benchmark: a table, and a flat object of numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.table import Table

from tests.benchmarks.contenders import Contender, Run
from tests.benchmarks.measure import Outcome


@dataclass(frozen=True, slots=True)
class DataSet:
    """Model, shard set and bare pairs of a case; tokens of an average pair."""

    model: Path
    shards: Path
    pairs: Path
    tokens_per_pair: float


class Case(NamedTuple):
    """Ratios compare contenders of the same case."""

    vocabulary: int
    edited: float
    prompts: float | None = None

    @property
    def suffix(self) -> str:
        """``_32k``; ``_32k_30`` if not 10 % are edited, ``_32k_p50`` if prompts are half of a sequence."""
        percent = round(100 * self.edited)
        edited = "" if percent == 10 else f"_{percent}"
        prompts = "" if self.prompts is None else f"_p{round(100 * self.prompts)}"
        return f"_{self.vocabulary // 1000}k{edited}{prompts}"


class Measured(NamedTuple):
    """One process's outcome, and the cores that other work used meanwhile."""

    outcome: Outcome
    other_cores: float


@dataclass(frozen=True, slots=True)
class Row:
    """One contender on one case, over all its processes. Rates in pairs/s, memory in GB (1e9 bytes).

    `other_cores` is the value of the most disturbed process.
    """

    contender: Contender
    case: Case
    rates: tuple[float, ...]
    flops_per_pair: float
    peak_gb: float
    above_gb: float
    other_cores: float

    @property
    def rate(self) -> float:
        """Median over the timed steps."""
        return median(self.rates)


@dataclass(slots=True)
class Results:
    """The outcomes so far, and the matmul speed before each process (FLOP/s)."""

    outcomes: dict[tuple[Contender, Case], list[Measured]] = field(default_factory=dict)
    matmul: list[float] = field(default_factory=list)

    def add(self, run: Run, measured: Measured) -> None:
        """Add one process."""
        case = Case(run.vocabulary, run.edited, run.prompts)
        self.outcomes.setdefault((run.contender, case), []).append(measured)

    def rows(self) -> list[Row]:
        """One for each contender and case; by case, with the reference first."""
        rows = [_row(contender, case, measured) for (contender, case), measured in self.outcomes.items()]
        return sorted(rows, key=_place)

    @property
    def matmul_peak(self) -> float:
        """The fastest measured speed; others are lower because the machine had other work."""
        return max(self.matmul)


def _place(row: Row) -> tuple[float, float, int, bool]:
    case = row.case
    return case.prompts or 0.0, case.edited, case.vocabulary, row.contender.key != "reference"


def _row(contender: Contender, case: Case, measured: list[Measured]) -> Row:
    outcomes = [one.outcome for one in measured]
    steps = [step for outcome in outcomes for step in outcome.steps]
    return Row(
        contender=contender,
        case=case,
        rates=tuple(step.pairs / step.seconds for step in steps),
        flops_per_pair=sum(step.flops for step in steps) / sum(step.pairs for step in steps),
        peak_gb=max(outcome.peak_gb for outcome in outcomes),
        above_gb=max(outcome.above_gb for outcome in outcomes),
        other_cores=max(one.other_cores for one in measured),
    )


def table(results: Results, tokens_per_pair: dict[Case, float]) -> Table:
    """One line for each contender and case."""
    rows = results.rows()
    shown = Table(title="training: steps of forward, backward and AdamW on the same pairs, without the gate")
    for heading in ("contender", "vocabulary", "edited", "prompts"):
        shown.add_column(heading, no_wrap=True)
    shown.add_column("pairs/s, median [min..max]", justify="right", no_wrap=True)
    for heading in (
        "steps",
        "tokens/s",
        "peak GB\n(above start)",
        "ratio to\nreference",
        "matmul peak,\nas executed",
        "as padded",
        "cores used\nby others",
    ):
        shown.add_column(heading, justify="right")
    references = {row.case: row for row in rows if row.contender.key == "reference"}
    for row in rows:
        reference = references[row.case]
        shown.add_row(
            row.contender.name,
            f"{row.case.vocabulary:,}",
            f"{row.case.edited:.0%}",
            "as in chats" if row.case.prompts is None else f"{row.case.prompts:.0%}",
            f"{row.rate:.3f} [{min(row.rates):.3f}..{max(row.rates):.3f}]",
            str(len(row.rates)),
            f"{row.rate * tokens_per_pair[row.case]:,.0f}",
            f"{row.peak_gb:.2f} ({row.above_gb:.2f})",
            f"{row.rate / reference.rate:.2f}",
            f"{row.rate * row.flops_per_pair / results.matmul_peak:.0%}",
            f"{row.rate * reference.flops_per_pair / results.matmul_peak:.0%}",
            f"{row.other_cores:.1f}",
            end_section=row is [other for other in rows if other.case == row.case][-1],
        )
    return shown


def figures(results: Results, tokens_per_pair: dict[Case, float]) -> dict[str, float]:
    """Ratios of medians within a case, then the figures of every row."""
    rows = results.rows()
    named = dict(_ratios(rows))
    for row in rows:
        name = row.contender.key + row.case.suffix
        named |= {
            f"pairs_per_second_{name}": row.rate,
            f"pairs_per_second_min_{name}": min(row.rates),
            f"pairs_per_second_max_{name}": max(row.rates),
            f"tokens_per_second_{name}": row.rate * tokens_per_pair[row.case],
            f"peak_gb_{name}": row.peak_gb,
            f"above_start_gb_{name}": row.above_gb,
            f"matmul_share_{name}": row.rate * row.flops_per_pair / results.matmul_peak,
        }
    named |= {
        "matmul_tflops_max": max(results.matmul) / 1e12,
        "matmul_tflops_min": min(results.matmul) / 1e12,
        "other_work_cores_max": max(row.other_cores for row in rows),
    }
    return named


def _ratios(rows: list[Row]) -> Iterator[tuple[str, float]]:
    """Ours over every other contender of the same case, in speed and in memory."""
    ours = {row.case: row for row in rows if row.contender.key == "ours"}
    for row in rows:
        mine = ours.get(row.case)
        if mine is None or mine is row:
            continue
        name = row.contender.key + row.case.suffix
        yield f"ratio_vs_{name}", mine.rate / row.rate
        yield f"memory_ratio_vs_{name}", mine.peak_gb / row.peak_gb

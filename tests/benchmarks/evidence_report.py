"""What the comparisons of `make evidence` found: the project's goals, and tables for a terminal.

It reads the essence of the JSON files only (`evidence_results.py`): every figure can be traced to them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.benchmarks.evidence_plan import Experiment
from tests.benchmarks.evidence_results import KEPT, newest

SFT_Y, SFT_REVISED, BASE = "SFT on Y", "SFT on Ỹ", "base"
NOT_KNOWN = "–"
OTHERS = (SFT_REVISED, "DPO", "APO-zero")
AHEAD_OF_SFT_Y, AHEAD_OF_PPO = 3.2, 1.8  # points of 100
SHARE_OF_PPO = 0.2  # of its FLOPs


@dataclass(frozen=True, slots=True)
class Found:
    """One comparison's results. `content` is the essence of its JSON file, see `evidence_results.py`."""

    name: str
    content: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of the judged methods, the best first."""
        return sorted(self.content["rows"], key=lambda row: -row["score"]["mean"])

    @property
    def compares_all_methods(self) -> bool:
        """Not only the anchors, say."""
        return "-" not in self.name

    @property
    def base(self) -> float:
        return self.content["base"]["mean"]

    def difference(self, one: str, other: str, pairs: int) -> dict[str, Any] | None:
        """`one` − `other` with its own 95 % interval, over the same prompts and seeds."""
        for each in self.content["contrasts"]:
            if each["pairs"] == pairs and {each["one"], each["other"]} == {one, other}:
                sign = 1 if each["one"] == one else -1
                ends = sorted(sign * end for end in each["change"]["interval"] or ())
                return {"mean": sign * each["change"]["mean"], "interval": ends or None}
        return None

    def against(self, row: dict[str, Any], other: str) -> dict[str, Any] | None:
        """The row's difference to another method, with the same pairs."""
        return self.difference(row["method"], other, row["pairs"])

    @property
    def best_on_validation(self) -> dict[str, Any] | None:
        """The row of the FIGA variant that the validation prompts choose."""
        best = self.content["best_on_validation"] or {}
        return next((row for row in self.rows if best.items() <= row.items()), None) if best else None


def found_in(root: Path, experiments: Sequence[Experiment], kept: Path = KEPT) -> list[Found]:
    """The comparisons that have been run on this machine, or whose results are kept."""
    contents = [(each.name, newest(each.name, root, kept)) for each in experiments]
    return [Found(name, content) for name, content in contents if content is not None]


COLUMNS = (
    "method", "pairs", "rate", "score", "against base", f"against {SFT_Y}", f"against {SFT_REVISED}",
    "worse than base", "over seeds", "KL", "FLOPs", "seconds",
)  # fmt: skip


def cells(found: Found, row: dict[str, Any]) -> tuple[str, ...]:
    """Score with 95 % interval, differences to the base and to SFT, what was damaged, and the cost."""
    spread, drift, seconds = row["spread_over_seeds"], row["kl_from_base"], row["seconds"]
    return (
        row["method"],
        str(row["pairs"]),
        f"{row['learning_rate']:g}",
        interval(row["score"]),
        interval(row["against_base"], "+"),
        interval(found.against(row, SFT_Y), "+"),
        interval(found.against(row, SFT_REVISED), "+"),
        f"{row['worse_than_base']} of {row['trainings']}",
        NOT_KNOWN if spread is None else f"{spread:.1f}",
        NOT_KNOWN if drift is None else f"{drift:.3g}",
        f"{row['flops']:.1e}",
        NOT_KNOWN if seconds is None else f"{seconds:.0f}",
    )


def title(found: Found) -> str:
    """Such as "support: verifier; base 28.3"."""
    return f"{found.name}: {found.content['metric']}; base {found.base:.1f}"


def table(found: Found) -> Table:
    """Every judged method, the best first."""
    shown = Table(title=title(found))
    for column in COLUMNS:
        shown.add_column(column)
    for row in found.rows:
        shown.add_row(*cells(found, row))
    return shown


def interval(estimate: dict[str, Any] | None, sign: str = "") -> str:
    """Such as "79.5 (75.6 to 83.5)"; empty without an estimate."""
    if not estimate:
        return ""
    ends = estimate["interval"]
    between = f" ({ends[0]:.1f} to {ends[1]:.1f})" if ends else ""
    return f"{estimate['mean']:{sign}.1f}{between}"


def goals(found: Sequence[Found]) -> list[str]:
    """What the project wants of the method, and whether these results show it."""
    lines = [line for each in found if each.compares_all_methods for line in _goals(each)]
    return lines + [line for each in found for line in _goals_against_ppo(each)]


def _goals(found: Found) -> Iterator[str]:
    defaults = [row for row in found.rows if "default" in row["method"]]
    if defaults:
        below, count = (sum(row[name] for row in defaults) for name in ("below_base", "trainings"))
        lowest = min(row["lowest"] for row in defaults)
        yield (
            f"{found.name}: the default ends below its base in {below} trainings; the lowest of {count} is "
            f"{lowest:.1f}, the base {found.base:.1f}."
        )
    best = found.best_on_validation
    if best is None:
        return
    name, against = best["method"], found.against(best, SFT_Y)
    if against is not None:
        verdict = "reached" if against["mean"] >= AHEAD_OF_SFT_Y else "missed"
        yield (
            f"{found.name}: {name}, the FIGA variant that is best on validation, against {SFT_Y}: "
            f"{interval(against, '+')} (goal {AHEAD_OF_SFT_Y:+}: {verdict})."
        )
    for other in OTHERS:
        change = found.against(best, other)
        if change is not None:
            ends, shown = change["interval"], interval(change, "+")
            verdict = "reached" if ends and ends[0] > 0 else "missed"
            yield f"{found.name}: {name} against {other}: {shown} (goal above zero: {verdict})."


def _goals_against_ppo(found: Found) -> Iterator[str]:
    """The default against PPO, and what a training of each cost."""
    ours = next((row for row in found.rows if "default" in row["method"]), None)
    for row in found.rows:
        if ours is None or row["objective"] != "ppo":
            continue
        change = found.against(ours, row["method"])
        if change is not None:
            share = ours["flops"] / row["flops"]
            reached = change["mean"] >= AHEAD_OF_PPO and share <= SHARE_OF_PPO
            yield (
                f"{found.name}: {ours['method']} against {row['method']}: {interval(change, '+')} at "
                f"{share:.2f} of its FLOPs (goal {AHEAD_OF_PPO:+} at {SHARE_OF_PPO} or less: "
                f"{'reached' if reached else 'missed'})."
            )


def by_type(found: Found) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Scores by type of prompt, for each number of pairs: a title, the columns and the rows."""
    for pairs, kinds in found.content["by_type"].items():
        names = [BASE, *(row["method"] for row in found.rows if str(row["pairs"]) == pairs)]
        rows = [
            [name, *(interval(of_kind.get(name)) or NOT_KNOWN for of_kind in kinds.values())]
            for name in names
        ]
        yield f"{found.name}, {pairs} pairs, by type of prompt", ["method", *kinds], rows


def tables_by_type(found: Found) -> Iterator[Table]:
    """`by_type` for a terminal."""
    for name, columns, rows in by_type(found):
        shown = Table(title=name)
        for column in columns:
            shown.add_column(column)
        for row in rows:
            shown.add_row(*row)
        yield shown

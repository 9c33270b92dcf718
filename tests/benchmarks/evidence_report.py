"""What the comparisons of `make evidence` found: tables, the project's goals, and one page.

It reads the JSON files only, so that every figure can be traced to them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.evidence_picture import PICTURE, draw
from tests.benchmarks.evidence_plan import Experiment

REPORT = "report.html"
SFT_Y, SFT_REVISED = "SFT on Y", "SFT on Ỹ"
OTHERS = (SFT_REVISED, "DPO", "APO-zero")
AHEAD_OF_SFT_Y, AHEAD_OF_PPO = 3.2, 1.8  # points of 100
SHARE_OF_PPO = 0.2  # of its FLOPs


@dataclass(frozen=True, slots=True)
class Found:
    """One comparison's results. `content` is its JSON file."""

    name: str
    content: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of the judged methods, the best first."""
        rows = [row for row in self.content["rows"] if row["score"]["mean"] is not None]
        return sorted(rows, key=lambda row: -row["score"]["mean"])

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

    def trainings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every judged training of every method's sweep, with the method."""
        for row in self.content["rows"]:
            for each in row["trainings"]:
                if each["judged"] is not None:
                    yield row["method"], each


def found_in(root: Path, experiments: Sequence[Experiment]) -> list[Found]:
    """The comparisons that have been run."""
    paths = [(each.name, root / f"{each.name}.json") for each in experiments]
    return [
        Found(name, json.loads(path.read_text(encoding="utf-8"))) for name, path in paths if path.exists()
    ]


def table(found: Found) -> Table:
    """Scores with 95 % intervals, differences to the base and to SFT, what was damaged, and the cost."""
    shown = Table(title=f"{found.name}: {found.content['metric']}; base {found.base:.1f}")
    for column in (
        "method", "pairs", "rate", "score", "against base", f"against {SFT_Y}", f"against {SFT_REVISED}",
        "trainings below base", "over seeds", "KL", "FLOPs", "seconds",
    ):  # fmt: skip
        shown.add_column(column)
    for row in found.rows:
        name, pairs, cost = row["method"], row["pairs"], row["cost_of_one_training"]
        judged = [each for each in row["trainings"] if each["judged"] is not None]
        drifts = [each["kl_from_base"] for each in judged if each["kl_from_base"] is not None]
        spread = row["spread_over_seeds"]
        shown.add_row(
            name,
            str(pairs),
            f"{row['learning_rate']:g}",
            _interval(row["score"]["mean"], row["score"]["interval"]),
            _change(row["against_base"] and row["against_base"]["change"]),
            _change(found.difference(name, SFT_Y, pairs)),
            _change(found.difference(name, SFT_REVISED, pairs)),
            f"{row['trainings_below_base']} of {len(judged)}",
            "–" if spread is None else f"{spread:.1f}",
            f"{fmean(drifts):.3f}" if drifts else "–",
            f"{cost['flops']:.1e}",
            f"{cost['seconds']:.0f}",
        )
    return shown


def _change(change: dict[str, Any] | None) -> str:
    return "" if not change else _interval(change["mean"], change["interval"], "+")


def _interval(mean: float, ends: Sequence[float] | None, sign: str = "") -> str:
    between = f" ({ends[0]:.1f} to {ends[1]:.1f})" if ends else ""
    return f"{mean:{sign}.1f}{between}"


def goals(found: Sequence[Found]) -> list[str]:
    """What the project wants of the method, and whether these results show it."""
    lines = [line for each in found if each.compares_all_methods for line in _goals(each)]
    return lines + [line for each in found for line in _goals_against_ppo(each)]


def _goals(found: Found) -> Iterator[str]:
    default = [each["judged"] for name, each in found.trainings() if "default" in name]
    if default:
        below = [score for score in default if score < found.base]
        lowest = f"the lowest of {len(default)} is {min(default):.1f}, the base {found.base:.1f}"
        yield f"{found.name}: the default ends below its base in {len(below)} trainings; {lowest}."
    best = chosen_on_validation(found)
    if best is None:
        return
    name, pairs = best["method"], best["pairs"]
    against = found.difference(name, SFT_Y, pairs)
    if against is not None:
        verdict = "reached" if against["mean"] >= AHEAD_OF_SFT_Y else "missed"
        yield (
            f"{found.name}: {name}, the FIGA variant that is best on validation, against {SFT_Y}: "
            f"{_change(against)} (goal {AHEAD_OF_SFT_Y:+}: {verdict})."
        )
    for other in OTHERS:
        change = found.difference(name, other, pairs)
        if change is not None:
            ends = change["interval"]
            verdict = "reached" if ends and ends[0] > 0 else "missed"
            yield f"{found.name}: {name} against {other}: {_change(change)} (goal above zero: {verdict})."


def _goals_against_ppo(found: Found) -> Iterator[str]:
    """The default against PPO, and what a training of each cost."""
    ours = next((row for row in found.rows if "default" in row["method"]), None)
    for row in found.rows:
        if ours is None or row["objective"] != "ppo":
            continue
        change = found.difference(ours["method"], row["method"], row["pairs"])
        if change is not None:
            share = ours["cost_of_one_training"]["flops"] / row["cost_of_one_training"]["flops"]
            reached = change["mean"] >= AHEAD_OF_PPO and share <= SHARE_OF_PPO
            yield (
                f"{found.name}: {ours['method']} against {row['method']}: {_change(change)} at "
                f"{share:.2f} of its FLOPs (goal {AHEAD_OF_PPO:+} at {SHARE_OF_PPO} or less: "
                f"{'reached' if reached else 'missed'})."
            )


def chosen_on_validation(found: Found) -> dict[str, Any] | None:
    """The FIGA variant with the highest mean validation score at its chosen rate."""
    rows = [row for row in found.rows if row["objective"] == "figa"]
    return max(rows, key=_validation, default=None)


def _validation(row: dict[str, Any]) -> float:
    at_rate = [each for each in row["trainings"] if each["learning_rate"] == row["learning_rate"]]
    return fmean(each["validation"] for each in at_rate if each["validation"] is not None)


def by_type(found: Found) -> Iterator[Table]:
    """Scores by type of prompt, a table for each number of pairs."""
    for pairs, kinds in found.content["by_type"].items():
        names = [row["method"] for row in found.rows if str(row["pairs"]) == pairs]
        shown = Table(title=f"{found.name}, {pairs} pairs, by type of prompt")
        shown.add_column("method")
        for kind in kinds:
            shown.add_column(kind)
        for name in ("base", *names):
            cells = [kinds[kind].get(name) for kind in kinds]
            shown.add_row(
                name, *(_interval(cell["mean"], cell["interval"]) if cell else "–" for cell in cells)
            )
        yield shown


def write_report(root: Path, experiments: Sequence[Experiment]) -> Path:
    """Print everything, and write it to one page; returns its path."""
    found = found_in(root, experiments)
    console = Console(record=True, width=220)
    for each in found:
        console.print(table(each), *by_type(each))
    for line in goals(found) or ["Nothing has been compared yet."]:
        console.print(line, highlight=False)
    links = "".join(f'<a href="{escape(each.name)}.html">{escape(each.name)}</a> ' for each in found)
    root.mkdir(parents=True, exist_ok=True)
    picture = draw(found, root / PICTURE)
    image = f'<p><img src="{PICTURE}" alt="Scores by domain" style="max-width: 100%"></p>' if picture else ""
    page = console.export_html(inline_styles=True)
    path = root / REPORT
    path.write_text(
        page.replace("<body>", f"<body>{image}<p>The whole reports: {links}</p>"), encoding="utf-8"
    )
    return path

"""A study of the distribution shift as text for people, and as JSON for programs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from figa_core.evaluation.statistics import Estimate
from figa_core.study.mmd import Discrepancy
from figa_core.study.shift import EqualReward

SYMBOLS = {"response": "Ŷ", "revision": "Ỹ", "reference": "Y"}
_SMALL_P = 0.05


@dataclass(frozen=True, slots=True)
class ShiftStudy:
    """What `figa study shift` found of a run.

    Attributes:
        pairs: of the shard set that were studied; `of_pairs` has all.
        nll: by model, the base first, and by answer: nats per token.
        shifts: by model and by answer, NLL(answer) − NLL(Ŷ) over the pairs that have both.
        reference_less_revision: by model, NLL(Y) − NLL(Ỹ).
        kl_from_base: by trained model, log p(base) − log p(model) of a token of Ŷ: an estimate of the KL
            divergence of the model from its base, from samples of the base.
        edit_shares, novel_shares, discrepancies: against Ŷ, by answer.
        equal_reward: None without references.
    """

    run_id: str
    shard_set_id: str
    pairs: int
    of_pairs: int
    embedder: str
    nll: Mapping[str, Mapping[str, Estimate]]
    shifts: Mapping[str, Mapping[str, Estimate]]
    reference_less_revision: Mapping[str, Estimate]
    kl_from_base: Mapping[str, Estimate]
    edit_shares: Mapping[str, Estimate]
    novel_shares: Mapping[str, Mapping[int, float | None]]
    discrepancies: Mapping[str, Discrepancy | None]
    equal_reward: EqualReward | None

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        """The tables and sentences."""
        title = f"NLL in nats a token, {self.pairs:,} of {self.of_pairs:,} pairs"
        yield _table(title, nll_rows(self))
        yield _table("How far from Ŷ", distance_rows(self))
        yield from sentences(self)

    def as_json(self) -> dict[str, Any]:
        """Every figure; estimates with their 95 % interval."""
        return _plain(asdict(self))


def sentences(study: ShiftStudy) -> Iterator[str]:
    """What the figures say, and what they do not."""
    base = next(iter(study.nll))
    found = study.reference_less_revision[base]
    if found.mean is None:
        yield "No pair has a reference, so Ỹ cannot be compared with Y."
        return
    yield (
        f"Under {base}, references are {_said(found, 'less likely than', 'more likely than')} revisions: "
        f"{_number(found)} nats a token (n = {found.n:,} pairs with both)."
    )
    equal = study.equal_reward
    if equal is None or equal.nll_difference.n < 2:
        yield "Too few pairs have Ỹ and Y of equal reward to compare them there."
        return
    yield (
        f"Where both have the same reward (±{equal.caliper:.2g}; left: {_number(equal.reward_difference)}), "
        f"references are {_said(equal.nll_difference, 'less likely than', 'more likely than')} revisions: "
        f"{_number(equal.nll_difference)} nats a token (n = {equal.pairs:,})."
    )


def _said(found: Estimate, above: str, below: str) -> str:
    if not found.excludes_zero or found.mean is None:
        return "not shown to be less or more likely than"
    return above if found.mean > 0 else below


def nll_rows(study: ShiftStudy) -> list[list[str]]:
    """NLL and its differences by model, in nats a token; the first row has the names."""
    rows = [["model", *SYMBOLS.values(), "Ỹ − Ŷ", "Y − Ŷ", "Y − Ỹ", "KL from base"]]
    for model, nll in study.nll.items():
        shifts, drift = study.shifts[model], study.kl_from_base.get(model)
        rows.append(
            [
                model,
                *("–" if nll[answer].mean is None else f"{nll[answer].mean:.3f}" for answer in SYMBOLS),
                *(_number(shifts[answer]) for answer in ("revision", "reference")),
                _number(study.reference_less_revision[model]),
                "" if drift is None else _number(drift),
            ]
        )
    return rows


def distance_rows(study: ShiftStudy) -> list[list[str]]:
    """How far the answers are from Ŷ; the first row has the names, "*" is a small p."""
    grams = list(next(iter(study.novel_shares.values()), {}))
    rows = [["answer", "tokens edited", *(f"new {n}-grams" for n in grams), "MMD²", "p"]]
    for answer, novel in study.novel_shares.items():
        edited, distance = study.edit_shares[answer], study.discrepancies[answer]
        small = distance is not None and distance.p < _SMALL_P
        rows.append(
            [
                SYMBOLS[answer],
                "–" if edited.mean is None else f"{edited.mean:.1%}",
                *("–" if share is None else f"{share:.1%}" for share in novel.values()),
                "–" if distance is None else f"{distance.squared:.4f}",
                "–" if distance is None else f"{distance.p:.3f}{' *' if small else ''}",
            ]
        )
    return rows


def _table(title: str, rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _number(value: Estimate) -> str:
    if value.mean is None:
        return "–"
    ends = "" if value.interval is None else f" ({value.interval[0]:.3f} to {value.interval[1]:.3f})"
    return f"{value.mean:+.3f}{ends}"


def _plain(value: Any) -> Any:
    """Of `asdict`: keys as text, and the interval of every estimate."""
    if isinstance(value, dict):
        found = {str(key): _plain(each) for key, each in value.items()}
        if found.keys() == {"mean", "standard_error", "n"}:
            found["interval"] = Estimate(**value).interval
        return found
    return value

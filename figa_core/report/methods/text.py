"""A comparison of methods in plain sentences and as a table for terminals and logs."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from figa_core.evaluation.cost import mean_cost
from figa_core.evaluation.crossed import CrossedEstimate
from figa_core.report.comparison import Metric, number
from figa_core.report.methods.comparison import BASE, MethodContrast, MethodsComparison, Row, below_base
from figa_core.report.methods.data import MethodOutcome, MethodsData, Outcome, TrainingOutcome
from figa_core.rl.methods import is_rl

_TOLD = 6


def result_sentences(data: MethodsData, found: MethodsComparison) -> Iterator[str]:
    """At each number of pairs, the largest first: what won, and what cannot be told apart from it."""
    if not found.sizes:
        yield "No training was judged, so there is nothing to compare."
    for pairs in reversed(found.sizes):
        yield from _at(data, found, pairs)
    worse = {
        row.method.name: sum(
            len(below_base(data, each)) for each in data.methods if each.name == row.method.name
        )
        for row in found.rows
    }
    if any(worse.values()):
        counts = _listed([f"{name} ({count})" for name, count in worse.items() if count], most=20)
        yield f"Trainings of the sweep whose model is worse than the base: {counts}."
    if text := reward_sentence(data):
        yield text
    if data.dependent_judge:
        yield data.dependent_judge
    yield _about_intervals(data, found)


def reward_sentence(data: MethodsData) -> str:
    """What the methods of reinforcement learning learn from; empty without such a method."""
    names = tuple(dict.fromkeys(each.name for each in data.methods if is_rl(each.objective)))
    if not names or not data.rewards:
        return ""
    together = ", combined as for the pairs" if len(data.rewards) > 1 else ""
    return f"The reward of {_listed(names)}: {_listed(data.rewards, most=20)}{together}."


def _at(data: MethodsData, found: MethodsComparison, pairs: int) -> Iterator[str]:
    best, *others = found.at(pairs)
    decimals, name = data.metric.decimals, best.method.name
    score = f"{number(best.estimate.mean, decimals)}{' of 100' if data.metric is Metric.VERIFIER else ''}"
    base = f"the base model has {number(found.base.mean, decimals)}"
    to_base = "" if best.to_base is None else f" ({_evidence(best.to_base, decimals)})"
    only = "" if others else "the only judged method, "
    how = "scores highest" if others else "scores"
    yield f"With {pairs:,} pairs, {name} {how}: {only}{score}; {base}{to_base}."
    behind: list[str] = []
    same: list[str] = []
    for row in others:
        contrast = found.between(name, row.method.name, pairs)
        if contrast is not None:
            (behind if contrast.told_apart else same).append(row.method.name)
    if same:
        yield f"With {pairs:,} pairs, {name} cannot be told apart from {_listed(same)}."
    if behind:
        yield f"With {pairs:,} pairs, {name} is ahead of {_listed(behind)}."
    worse = [row.method.name for row in found.at(pairs) if _is_worse(row)]
    if worse:
        yield f"With {pairs:,} pairs, worse than the base model: {_listed(worse)}."


def _is_worse(row: Row) -> bool:
    contrast = row.to_base
    return contrast is not None and contrast.told_apart and (contrast.change.mean or 0) < 0


def _listed(names: Sequence[str], most: int = _TOLD) -> str:
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _about_intervals(data: MethodsData, found: MethodsComparison) -> str:
    judged = next((row.estimate.prompts for row in found.rows if row.estimate.prompts), found.base.prompts)
    text = (
        f"Rates were chosen on {data.validation_prompts:,} held-out prompts, and methods judged on "
        f"{judged:,} others; differences are corrected for {_comparisons(found)}"
    )
    left_out = max((row.estimate.left_out for row in found.rows), default=0)
    if left_out:
        text += f"; up to {left_out:,} prompts without a score from some training are left out"
    if any(row.estimate.prompts and not row.estimate.covers_seeds for row in found.rows):
        return f"{text}. Intervals of methods with one seed cover prompts only: another seed may differ more."
    return f"{text}, and intervals cover prompts and seeds."


def _comparisons(found: MethodsComparison) -> str:
    return "1 comparison" if found.comparisons == 1 else f"{found.comparisons:,} comparisons"


def _evidence(contrast: MethodContrast, decimals: int) -> str:
    return (
        f"{number(contrast.change.mean, decimals, signed=True)}, {interval_text(contrast.interval, decimals)}"
    )


def interval_text(interval: tuple[float, float] | None, decimals: int) -> str:
    """Such as "7.6 to 9.2"."""
    if interval is None:
        return "no interval from one prompt"
    return f"{number(interval[0], decimals)} to {number(interval[1], decimals)}"


def estimate_text(estimate: CrossedEstimate, decimals: int) -> str:
    """Such as "81.9 (80.2 to 83.6)", with the 95 % interval of this mean alone."""
    if estimate.mean is None:
        return "–"
    interval = estimate.interval()
    between = "" if interval is None else f" ({interval_text(interval, decimals)})"
    return f"{number(estimate.mean, decimals)}{between}"


def verdict(contrast: MethodContrast | None) -> str:
    """What a difference to another model means, in a word or two."""
    if contrast is None or contrast.change.mean is None:
        return ""
    if contrast.p_adjusted is None:
        return "too few prompts"
    if not contrast.told_apart:
        return "not told apart"
    return "better" if contrast.change.mean > 0 else "worse"


def seeds_text(method: MethodOutcome) -> str:
    """Such as "3" or "2 of 3", with what came of the others."""
    tried = len({each.seed for each in method.trainings})
    return f"{len(method.chosen)}" if len(method.chosen) == tried else f"{len(method.chosen)} of {tried}"


def troubles(method: MethodOutcome) -> str:
    """Why the method or some of its trainings have no result, and what is odd about others; or empty."""
    if method.unable:
        return f"cannot run: {method.unable}"
    texts = []
    for outcome in (Outcome.DIVERGED, Outcome.FAILED):
        hit = [each for each in method.trainings if each.outcome is outcome]
        if hit:
            texts.append(f"{len(hit)} {outcome} ({_which(hit)}): {_first_line(hit[0].reason)}")
    if method.open_rates:
        rates = ", ".join(f"{rate:g}" for rate in method.open_rates)
        texts.append(f"the chosen rate may change: rate {rates} is not judged yet")
    remarked = [each for each in method.trainings if each.outcome is Outcome.JUDGED and each.reason]
    for remark in sorted({each.reason for each in remarked}):
        hit = [each for each in remarked if each.reason == remark]
        texts.append(f"{len(hit)} judged ({_which(hit)}): {remark}")
    return "; ".join(texts)


def _which(trainings: Sequence[TrainingOutcome]) -> str:
    shown = ", ".join(f"rate {each.learning_rate:g} seed {each.seed}" for each in trainings[:3])
    return f"{shown} and {len(trainings) - 3} more" if len(trainings) > 3 else shown


def _first_line(reason: str) -> str:
    return reason.strip().partition("\n")[0]


def table_lines(data: MethodsData, found: MethodsComparison) -> Iterator[str]:
    """The table as lines of text, the best method of each number of pairs first."""
    decimals = data.metric.decimals
    header = (
        "method",
        "pairs",
        "rate",
        "seeds",
        data.metric.label,
        "against base",
        "",
        "cost of one training",
    )
    rows: list[tuple[str, ...]] = [header]
    rows.append((BASE, "", "", "", estimate_text(found.base, decimals), "", "", ""))
    for pairs in found.sizes:
        rows += [_cells(row, decimals) for row in found.at(pairs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for row in found.rows:
        if text := troubles(row.method):
            yield f"{row.method.name}, {row.method.pairs:,} pairs: {text}"


def _cells(row: Row, decimals: int) -> tuple[str, ...]:
    method, change = row.method, row.to_base
    rate = method.learning_rate
    against = "" if change is None else _evidence(change, decimals)
    return (
        method.name,
        f"{method.pairs:,}",
        "" if rate is None else f"{rate:g}",
        seeds_text(method),
        estimate_text(row.estimate, decimals),
        against,
        verdict(change),
        cost_text(method),
    )


def cost_text(method: MethodOutcome) -> str:
    """Operations and time of one training at the chosen rate, and dollars of its data."""
    cost = mean_cost([each.cost for each in method.chosen])
    parts = [f"{flops_text(cost.flops)}", str(timedelta(seconds=round(cost.seconds)))]
    if method.data_cost.usd is not None:
        parts.append(f"${method.data_cost.usd:,.2f}")
    return ", ".join(parts)


def flops_text(flops: float) -> str:
    """Such as "3.1e+15 FLOPs"."""
    return f"{flops:.1e} FLOPs"

"""A study of the reward model's quality in sentences and as a table for terminals and logs."""

from collections.abc import Iterator, Sequence

from figa_core.evaluation.contrast import Contrast
from figa_core.evaluation.crossed import CrossedEstimate
from figa_core.report.comparison import number
from figa_core.study.reward.accuracy import Accuracy
from figa_core.study.reward.data import RewardStudy, VariantOutcome

DECIMALS = 1


def sentences(study: RewardStudy) -> Iterator[str]:
    """What the figures say, and what they do not."""
    if not study.scores:
        yield "No training was judged, so nothing can be said of the reward models."
        return
    yield from _result(study)
    if text := _against_full(study):
        yield text
    yield from _mistakes(study)
    yield _about(study)


def _result(study: RewardStudy) -> Iterator[str]:
    judged = [each for each in study.variants if each.key in study.scores]
    best = max(judged, key=lambda each: study.scores[each.key].mean or 0.0)
    worst = min(judged, key=lambda each: study.scores[each.key].mean or 0.0)
    yield (
        f"The verifier gives {score_text(study.base_score)} of 100 to the base model, "
        f"{_scored(study, best)} and {_scored(study, worst)}."
    )


def _scored(study: RewardStudy, each: VariantOutcome) -> str:
    return f"{score_text(study.scores[each.key])} with {each.label} (accuracy {share_text(each.accuracy)})"


def _against_full(study: RewardStudy) -> str:
    labels = {each.key: each.label for each in study.variants}
    if not study.to_full:
        return ""
    apart = [each for each in study.to_full.values() if each.told_apart]
    same = [labels[each.one] for each in study.to_full.values() if not each.told_apart]
    texts = [f"{labels[each.one]} ({change_text(each)})" for each in apart]
    found = f"told apart: {_listed(texts)}" if texts else "none is told apart"
    rest = f"; not told apart: {_listed(same)}" if texts and same else ""
    return f"Against the reward model trained on all pairs, {found}{rest}."


def _mistakes(study: RewardStudy) -> Iterator[str]:
    shares = [(each.label, each.mistakes) for each in study.variants if each.mistakes is not None]
    if shares:
        least = min(shares, key=lambda each: each[1].share or 0.0)
        most = max(shares, key=lambda each: each[1].share or 0.0)
        found = "Of the pairs trained on, the verifier finds Ỹ no better than Ŷ in"
        if most[1].share == least[1].share:
            yield f"{found} {share_text(most[1])}, with every reward."
        else:
            yield f"{found} {share_text(least[1])} ({least[0]}) to {share_text(most[1])} ({most[0]})."


def _about(study: RewardStudy) -> str:
    text = (
        f"Accuracies are of {study.held_out_pairs:,} held-out pairs ({study.pairs_from}); scores of "
        f"{study.base_score.prompts:,} held-out prompts, differences corrected for all comparisons"
    )
    if len(study.seeds) == 1:
        return f"{text}. With one seed intervals cover prompts only: another seed may differ more."
    return f"{text}; intervals cover prompts and seeds."


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def score_text(found: CrossedEstimate | None) -> str:
    """Such as "81.9 (80.2 to 83.6)", with the interval of this mean alone."""
    if found is None or found.mean is None:
        return "–"
    interval = found.interval()
    return f"{number(found.mean, DECIMALS)}{_between(interval)}"


def change_text(found: Contrast | None) -> str:
    """Such as "+3.2 (1.0 to 5.4)", with the simultaneous interval."""
    if found is None or found.change.mean is None:
        return "–"
    return f"{number(found.change.mean, DECIMALS, signed=True)}{_between(found.interval)}"


def share_text(found: Accuracy | None) -> str:
    """Such as "92.3 % (88.1 to 95.0)"."""
    if found is None or found.share is None:
        return "–"
    low, high = found.interval() or (found.share, found.share)
    return f"{number(100 * found.share, 1)} % ({number(100 * low, 1)} to {number(100 * high, 1)})"


def _between(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    return f" ({number(interval[0], DECIMALS)} to {number(interval[1], DECIMALS)})"


HEADER = (
    "reward",
    "accuracy",
    "kept",
    "trained on",
    "mistakes",
    "verifier, of 100",
    "against base",
    "against all pairs",
)


def cells(study: RewardStudy, each: VariantOutcome) -> tuple[str, ...]:
    """One row of the table."""
    pairs = each.pairs
    kept = "–" if pairs is None else f"{pairs.kept:,} of {pairs.candidates:,}"
    return (
        each.label,
        share_text(each.accuracy),
        kept,
        f"{each.trained_on:,}" if each.trained_on else "–",
        share_text(each.mistakes),
        score_text(study.scores.get(each.key)),
        change_text(study.to_base.get(each.key)),
        change_text(study.to_full.get(each.key)),
    )


def troubles(study: RewardStudy) -> Iterator[str]:
    """What of the study has no result, or an odd one."""
    for each in study.variants:
        if each.unable:
            yield f"{each.label}: {each.unable}"
        yield from (f"{each.label}, seed {one.seed}: {one.reason}" for one in each.trainings if one.reason)


def lines_of(study: RewardStudy) -> Iterator[str]:
    """Table and sentences."""
    rows = [HEADER, ("base model", "", "", "", "", score_text(study.base_score), "", "")]
    rows += [cells(study, each) for each in study.variants]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    yield ""
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield from sentences(study)
    yield from troubles(study)

"""What people say of the changes of each scheme, and how far they agree.

Agreement is Krippendorff's alpha (Content Analysis, 4th ed., 2018, chapter 12) for nominal values, from NLTK:
1 if all agree, 0 if they agree as by chance. It counts the changes that at least two people judged.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from figa_core.annotation.changes import Verdict
from figa_core.annotation.store import Judgement
from figa_core.evaluation.statistics import Estimate
from figa_core.report.data import SchemeJudged

_Change = tuple[str, str]
"""Pair id and key."""


def judged_by_scheme(judgements: Iterable[Judgement]) -> tuple[SchemeJudged, ...]:
    """One record for each scheme, in the order of their names."""
    by_scheme: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        by_scheme[judgement.scheme].append(judgement)
    return tuple(_judged(scheme, found) for scheme, found in sorted(by_scheme.items()))


def _judged(scheme: str, judgements: Sequence[Judgement]) -> SchemeJudged:
    verdicts: dict[_Change, list[Verdict]] = defaultdict(list)
    for judgement in judgements:
        verdicts[judgement.pair_id, judgement.change].append(judgement.verdict)
    shares = {verdict: _share(verdicts, verdict) for verdict in Verdict}
    return SchemeJudged(
        scheme=scheme,
        annotators=tuple(sorted({judgement.annotator for judgement in judgements})),
        pairs=len({pair_id for pair_id, _ in verdicts}),
        changes=len(verdicts),
        matters=shares[Verdict.MATTERS],
        does_not=shares[Verdict.DOES_NOT],
        worse=shares[Verdict.WORSE],
        alpha=krippendorff_alpha(judgements),
        judged_twice=sum(len(found) > 1 for found in verdicts.values()),
        judgements=len(judgements),
        blind=sum(judgement.blind for judgement in judgements),
    )


def _share(verdicts: Mapping[_Change, Sequence[Verdict]], wanted: Verdict) -> Estimate:
    """The mean over changes of the share of people who say so; n is the number of pairs.

    The changes of one pair are not independent, so the standard error is that of a ratio over pairs: with y
    the sum and k the number of changes of a pair, √(G / (G − 1) · Σ (y − mean · k)²) / Σ k over G pairs
    (Cochran, Sampling Techniques, 3rd ed., 1977, section 6.4).
    """
    pairs: dict[str, list[float]] = defaultdict(list)
    for (pair_id, _), found in verdicts.items():
        pairs[pair_id].append(sum(verdict is wanted for verdict in found) / len(found))
    sums = [(math.fsum(shares), len(shares)) for shares in pairs.values()]
    total, n = sum(k for _, k in sums), len(sums)
    mean = math.fsum(y for y, _ in sums) / total
    if n < 2:
        return Estimate(mean, None, n)
    squares = math.fsum((y - mean * k) ** 2 for y, k in sums)
    return Estimate(mean, math.sqrt(n / (n - 1) * squares) / total, n)


def krippendorff_alpha(judgements: Sequence[Judgement]) -> float | None:
    """Alpha of these judgements, which are of one scheme.

    None if it is not defined: no change was judged by two people, or all such judgements are the same.
    """
    by_change: dict[_Change, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        by_change[judgement.pair_id, judgement.change].append(judgement)
    compared = [found for found in by_change.values() if len(found) > 1]
    if len({judgement.verdict for found in compared for judgement in found}) < 2:
        return None
    from nltk.metrics.agreement import AnnotationTask

    data = [(j.annotator, number, str(j.verdict)) for number, found in enumerate(compared) for j in found]
    return float(AnnotationTask(data).alpha())

"""How far the answers to train on are from the model's own: the distribution shift of a run's pairs.

The paper's claim is that revisions Ỹ shift less than references Y do, because they are the model's own
answers Ŷ with few edits. Four measures say how far answers are from Ŷ:

- their mean NLL per token under a model, less that of Ŷ. Ŷ are samples of the base model, so this is how much
  less likely than its own samples it finds them. (The KL divergence of one answer a prompt cannot be known
  without the entropy of what wrote it; this is the part of it that can.)
- the share of tokens that differ from Ŷ by the Levenshtein distance.
- the share of n-grams that occur in no Ŷ of the study.
- the maximum mean discrepancy of embeddings (`mmd.py`).

Ỹ and Y are compared on the pairs that have both, so at equal size of the data; `at_equal_reward` takes only
those of them whose rewards are nearly the same. Where few pairs have references, the edits, n-grams and
embeddings of Y are of those few. Pure: numbers in, numbers out. The answers have the shards' names: Ŷ is
`response`, Ỹ is `revision`, Y is `reference`.

Shapes: N pairs; NaN is an answer that a pair does not have.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import Levenshtein
import numpy as np
import numpy.typing as npt

from figa_core.evaluation.statistics import Estimate, estimate

NGRAMS = (1, 2, 3, 4)
_CALIPER = 0.2  # standard deviations; Austin (2011) for matching by scores

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EqualReward:
    """Pairs whose R(Ỹ) and R(Y) differ by at most `caliper`.

    `reward_difference` is R(Y) − R(Ỹ) that is left, `nll_difference` NLL(Y) − NLL(Ỹ) under the base model.
    """

    caliper: float
    pairs: int
    reward_difference: Estimate
    nll_difference: Estimate


def mean_nll(log_probs: Iterable[Sequence[float]]) -> Values:
    """The mean NLL per token of each answer, in nats, shape [N]; NaN for one without tokens."""
    means = [-float(np.mean(row)) if len(row) else float("nan") for row in log_probs]
    return np.asarray(means, dtype=np.float64)


def mean_of(values: Values) -> Estimate:
    """The mean of the values that there are."""
    return estimate(values[~np.isnan(values)].tolist())


def mean_difference(before: Values, after: Values) -> Estimate:
    """The mean of after − before over the pairs that have both."""
    return mean_of(after - before)


def edit_shares(responses: Iterable[Sequence[int]], answers: Iterable[Sequence[int]]) -> Values:
    """Levenshtein distance in tokens, of the longer of the two, shape [N]; NaN for an empty answer."""
    shares = [
        Levenshtein.distance(response, answer) / max(len(response), len(answer)) if answer else float("nan")
        for response, answer in zip(responses, answers, strict=True)
    ]
    return np.asarray(shares, dtype=np.float64)


def novel_shares(known: Iterable[Sequence[int]], answers: Sequence[Sequence[int]]) -> dict[int, float | None]:
    """By n, the share of the answers' n-grams that occur in none of `known`; None if they have none."""
    known = [*known]
    shares: dict[int, float | None] = {}
    for n in NGRAMS:
        seen = {gram for each in known for gram in _ngrams(each, n)}
        found = [gram in seen for each in answers for gram in _ngrams(each, n)]
        shares[n] = 1 - sum(found) / len(found) if found else None
    return shares


def _ngrams(ids: Sequence[int], n: int) -> Iterable[tuple[int, ...]]:
    return (tuple(ids[first : first + n]) for first in range(len(ids) - n + 1))


def at_equal_reward(
    rewards: Mapping[str, Values], nll: Mapping[str, Values], caliper_share: float = _CALIPER
) -> EqualReward | None:
    """Compare Ỹ and Y on pairs on which they are worth the same; None without pairs that have both.

    `rewards` and `nll` are by answer. The caliper is that share of the standard deviation of the rewards of
    both.
    """
    revised, reference = rewards["revision"], rewards["reference"]
    both = ~np.isnan(revised) & ~np.isnan(reference)
    if not both.any():
        return None
    caliper = caliper_share * float(np.std(np.concatenate([revised[both], reference[both]])))
    near = both & (np.abs(np.where(both, reference - revised, 0)) <= caliper)
    return EqualReward(
        caliper=caliper,
        pairs=int(near.sum()),
        reward_difference=mean_difference(revised[near], reference[near]),
        nll_difference=mean_difference(nll["revision"][near], nll["reference"][near]),
    )

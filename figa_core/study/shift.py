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
those of them whose rewards are nearly the same, and `at_equal_data` compares trained models. Pure: numbers
in, numbers out. The answers have the shards' names: Ŷ is `response`, Ỹ is `revision`, Y is `reference`.

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


Nll = Mapping[str, Mapping[str, Values]]
"""By model, the base first, and by answer: nats per token, shape [N]."""


@dataclass(frozen=True, slots=True)
class SameReward:
    """Which pairs have R(Ỹ) and R(Y) that differ by at most `caliper`; `near` has the shape [N]."""

    caliper: float
    near: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EqualReward:
    """Ỹ and Y on the pairs on which they are worth the same (`SameReward`).

    `reward_difference` is R(Y) − R(Ỹ) that is left, `nll_differences` by model NLL(Y) − NLL(Ỹ).
    """

    caliper: float
    pairs: int
    reward_difference: Estimate
    nll_differences: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class EqualData:
    """Two models that were trained on the same number of pairs: `other` less `one`, over the studied pairs.

    Attributes:
        pairs: what each was trained on.
        kl: the difference of their KL divergences from the base, estimated on Ŷ, in nats a token.
        kl_at_equal_reward: the same over the pairs whose Ỹ and Y have the same reward; n = 0 without any.
        nll: by answer, the difference of their NLL of Ỹ and of Y, in nats a token.
    """

    pairs: int
    one: str
    other: str
    kl: Estimate
    kl_at_equal_reward: Estimate
    nll: Mapping[str, Estimate]


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


def same_reward(rewards: Mapping[str, Values], caliper_share: float = _CALIPER) -> SameReward | None:
    """The pairs on which Ỹ and Y are worth the same; None without pairs that have both.

    `rewards` are by answer. The caliper is that share of the standard deviation of the rewards of both.
    """
    revised, reference = rewards["revision"], rewards["reference"]
    both = ~np.isnan(revised) & ~np.isnan(reference)
    if not both.any():
        return None
    caliper = caliper_share * float(np.std(np.concatenate([revised[both], reference[both]])))
    near = both & (np.abs(np.where(both, reference - revised, 0)) <= caliper)
    return SameReward(caliper, near)


def at_equal_reward(rewards: Mapping[str, Values], nll: Nll, same: SameReward) -> EqualReward:
    """Compare Ỹ and Y under each model on the pairs of `same`."""
    near = same.near
    return EqualReward(
        caliper=same.caliper,
        pairs=int(near.sum()),
        reward_difference=mean_difference(rewards["revision"][near], rewards["reference"][near]),
        nll_differences={
            model: mean_difference(of["revision"][near], of["reference"][near]) for model, of in nll.items()
        },
    )


def at_equal_data(nll: Nll, trained_on: Mapping[str, int], same: SameReward | None) -> tuple[EqualData, ...]:
    """Compare models that had equal numbers of pairs (`trained_on`, by model): the first with each other.

    The KL divergence of a model from the base is the mean of log p(base) − log p(model) over the base's own
    Ŷ, so the base cancels out of the difference of two models, and it is that of their NLL of Ŷ.
    """
    found = list[EqualData]()
    for pairs in dict.fromkeys(trained_on.values()):
        one, *others = (model for model, had in trained_on.items() if had == pairs)
        found += [_compared(pairs, one, other, nll, same) for other in others]
    return tuple(found)


def _compared(pairs: int, one: str, other: str, nll: Nll, same: SameReward | None) -> EqualData:
    before, after = nll[one], nll[other]
    drift = after["response"] - before["response"]
    near = np.zeros(len(drift), dtype=bool) if same is None else same.near
    differences = {
        answer: mean_difference(before[answer], after[answer]) for answer in ("revision", "reference")
    }
    return EqualData(pairs, one, other, mean_of(drift), mean_of(drift[near]), differences)

"""Which responses are worth revising, and which revisions are worth training on. Pure.

Paper: keep X if R(Ŷ) < η1, R(Y) > η2 and R(Y) − R(Ŷ) > η3. A reward model's scale and offset are arbitrary,
so each η may be a quantile of the run's scores instead of a number. Without a reference only the first test
applies.
"""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from figa_core.records import Decision

_NOT_FINITE = "the value is not a finite number"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled response with its reward, and the reward of its prompt's reference if there is one.

    A missing reward is None or not finite; a failure says why it is missing.
    """

    response_id: str
    prompt_id: str
    response_reward: float | None
    reference_reward: float | None
    response_failure: str | None = None
    reference_failure: str | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """η1, η2, η3 in units of the raw reward."""

    response_reward_below: float
    reference_reward_above: float
    reward_gap_above: float


def resolve_threshold(threshold: float | str, values: Iterable[float]) -> float:
    """A number unchanged, and "q0.3" as that quantile (linear interpolation) of `values`.

    Without values a quantile is NaN, which passes no comparison.
    """
    if not isinstance(threshold, str):
        return float(threshold)
    known = np.fromiter(values, dtype=np.float64)
    return float(np.quantile(known, float(threshold[1:]))) if known.size else float("nan")


def resolve_thresholds(
    response_reward_below: float | str,
    reference_reward_above: float | str,
    reward_gap_above: float | str,
    candidates: Iterable[Candidate],
) -> Thresholds:
    """Turn each setting into a number, by the run's scores without the missing ones.

    `candidates` are read once, and only if a setting is a quantile; 24 bytes of each are kept.
    """
    responses, references, gaps = array("d"), array("d"), array("d")
    if any(isinstance(t, str) for t in (response_reward_below, reference_reward_above, reward_gap_above)):
        for candidate in candidates:
            response, reference = candidate.response_reward, candidate.reference_reward
            if _is_known(response):
                responses.append(response)
            if _is_known(reference):
                references.append(reference)
            if _is_known(response) and _is_known(reference):
                gaps.append(reference - response)
    return Thresholds(
        resolve_threshold(response_reward_below, responses),
        resolve_threshold(reference_reward_above, references),
        resolve_threshold(reward_gap_above, gaps),
    )


def _is_known(reward: float | None) -> TypeGuard[float]:
    return reward is not None and math.isfinite(reward)


def decide(candidate: Candidate, thresholds: Thresholds) -> Decision:
    """The paper's three tests in order; the reason names the first that fails, or a missing reward."""
    response, reference = candidate.response_reward, candidate.reference_reward
    if not _is_known(response):
        return Decision(False, f"no reward: {candidate.response_failure or _NOT_FINITE}")
    if candidate.reference_failure is not None or not (reference is None or _is_known(reference)):
        return Decision(False, f"no reward of the reference: {candidate.reference_failure or _NOT_FINITE}")
    if not response < thresholds.response_reward_below:
        return Decision(False, "response already good enough (response_reward_below)")
    if reference is None:
        return Decision(True, "response is weak; no reference to compare with")
    if not reference > thresholds.reference_reward_above:
        return Decision(False, "reference not good enough (reference_reward_above)")
    if not reference - response > thresholds.reward_gap_above:
        return Decision(False, "reference not enough better (reward_gap_above)")
    return Decision(True, "response is weak and the reference is better")


def keep(
    candidates: Sequence[Candidate], thresholds: Thresholds, *, lowest_only: bool
) -> dict[str, Decision]:
    """The decision for every candidate, by response id.

    With `lowest_only`, one response of each prompt is kept: the lowest-scored that passes. `candidates` must
    have all samples of their prompts.
    """
    decisions = {c.response_id: decide(c, thresholds) for c in candidates}
    if not lowest_only:
        return decisions
    passed = [c for c in candidates if decisions[c.response_id].accepted]
    best: dict[str, Candidate] = {}
    for candidate in sorted(passed, key=lambda c: (c.response_reward or 0.0, c.response_id)):
        if best.setdefault(candidate.prompt_id, candidate) is not candidate:
            reason = "another sample of the prompt scored lower (samples_kept)"
            decisions[candidate.response_id] = Decision(False, reason)
    return decisions


def admit(
    response_reward: float | None,
    revision_reward: float | None,
    reward_gain_above: float | None,
    failure: str | None = None,
) -> Decision:
    """The guard on revisions: a revision must raise the reward by more than `reward_gain_above`.

    None admits all revisions with both rewards; `failure` says why one is missing.
    """
    if not _is_known(response_reward) or not _is_known(revision_reward):
        return Decision(False, f"no reward: {failure or _NOT_FINITE}")
    if reward_gain_above is None:
        return Decision(True, "guard is off")
    if revision_reward - response_reward > reward_gain_above:
        return Decision(True, "revision raises the reward")
    return Decision(False, "revision does not raise the reward (reward_gain_above)")


def most_frequent_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of reasons, in the order in which they are shown."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

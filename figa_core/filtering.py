"""Which responses are worth revising, and which revisions are worth training on.

Paper: keep X when R(Ŷ) < η1, R(Y) > η2 and R(Y) − R(Ŷ) > η3. A reward model's scale and offset are
arbitrary, so each η may be a quantile of the run's own scores instead of a number. Without a reference
only the first test applies. Pure: plain values in, decisions out.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from figa_core.records import Decision


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled response with its reward, and the reward of its prompt's reference if there is one."""

    response_id: str
    prompt_id: str
    response_reward: float
    reference_reward: float | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """η1, η2, η3 in units of the raw reward."""

    response_reward_below: float
    reference_reward_above: float
    reward_gap_above: float


def resolve_threshold(threshold: float | str, values: Iterable[float]) -> float:
    """A number as it is; "q0.3" as that quantile (linear interpolation) of `values`.

    Without values a quantile is NaN, which no comparison passes.
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
    """Turn each setting into a number with the run's own scores.

    `candidates` are gone through once, and only where a setting is a quantile; 24 bytes of each are kept.
    """
    responses, references, gaps = array("d"), array("d"), array("d")
    if any(isinstance(t, str) for t in (response_reward_below, reference_reward_above, reward_gap_above)):
        for candidate in candidates:
            responses.append(candidate.response_reward)
            if candidate.reference_reward is not None:
                references.append(candidate.reference_reward)
                gaps.append(candidate.reference_reward - candidate.response_reward)
    return Thresholds(
        resolve_threshold(response_reward_below, responses),
        resolve_threshold(reference_reward_above, references),
        resolve_threshold(reward_gap_above, gaps),
    )


def decide(candidate: Candidate, thresholds: Thresholds) -> Decision:
    """The paper's three tests in order; the reason names the first that fails."""
    if not candidate.response_reward < thresholds.response_reward_below:
        return Decision(False, "response already good enough (response_reward_below)")
    if candidate.reference_reward is None:
        return Decision(True, "response is weak; no reference to compare with")
    if not candidate.reference_reward > thresholds.reference_reward_above:
        return Decision(False, "reference not good enough (reference_reward_above)")
    if not candidate.reference_reward - candidate.response_reward > thresholds.reward_gap_above:
        return Decision(False, "reference not enough better (reward_gap_above)")
    return Decision(True, "response is weak and the reference is better")


def keep(
    candidates: Sequence[Candidate], thresholds: Thresholds, *, lowest_only: bool
) -> dict[str, Decision]:
    """Decide every candidate; with `lowest_only`, one response a prompt: the lowest-scored that passes.

    `candidates` need not be all, but all samples of each prompt.

    Returns:
        response id → decision, for every candidate.
    """
    decisions = {c.response_id: decide(c, thresholds) for c in candidates}
    if not lowest_only:
        return decisions
    passed = [c for c in candidates if decisions[c.response_id].accepted]
    best: dict[str, Candidate] = {}
    for candidate in sorted(passed, key=lambda c: (c.response_reward, c.response_id)):
        best.setdefault(candidate.prompt_id, candidate)
    for candidate in passed:
        if best[candidate.prompt_id] is not candidate:
            decisions[candidate.response_id] = Decision(
                False, "another sample of the prompt scored lower (samples_kept)"
            )
    return decisions


def admit(response_reward: float, revision_reward: float, reward_gain_above: float | None) -> Decision:
    """The guard on revisions: a revision must raise the reward by more than the setting; None admits all."""
    if reward_gain_above is None:
        return Decision(True, "guard is off")
    if revision_reward - response_reward > reward_gain_above:
        return Decision(True, "revision raises the reward")
    return Decision(False, "revision does not raise the reward (reward_gain_above)")


def count_reasons(decisions: Mapping[str, Decision]) -> dict[str, int]:
    """Rejected rows by reason, most frequent first."""
    return most_frequent_first(Counter(d.reason for d in decisions.values() if not d.accepted))


def most_frequent_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of reasons, also those of several pages added up, in the order in which they are shown."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

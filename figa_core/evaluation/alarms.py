"""Signs of damage that show after a training: in the held-out answers, and in what judges make of them.

Unlike the alarms of `training/alarms.py` they cost nothing, because the answers were drawn and scored
anyway. For the same reason they come when the training is over, and end nothing. Answers are greedy with
`evaluation.temperature = 0`, the default.

* `response_length`: answers twice as long as the base model's, or half as long, on average. A model that has
  lost its end-of-turn runs on; one that has lost its language stops at once.
* `response_entropy`: the entropy of an answer's own tokens (Σ −p log₂ p, with p a token's share of the
  answer) is on average below half the base model's. An answer that repeats one phrase of four tokens has 2
  bits, however long it is; a fluent answer of 60 tokens has 5 to 6.
* `flat_reward`: the loss has gone to a tenth of where it began, and the mean reward has not risen. What was
  learned was not what the reward model sees.
* `verifier_falls`: the mean reward has risen and the verifier's mean has fallen: the training exploits the
  reward model.

Means are compared on the same prompts; changes that chance could explain (95 % interval) raise no alarm.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from figa_core.evaluation.statistics import Estimate, estimate, paired_difference

LENGTH_FACTOR = 2.0
ENTROPY_SHARE = 0.5
LOSS_SHARE = 0.1
_ENDS = 0.1  # of the steps: the mean loss of the first and of the last ones is compared


@dataclass(frozen=True, slots=True)
class Judged:
    """One model on held-out prompts: tokens and entropy (bits) of its answer, and scores, by prompt id."""

    lengths: Mapping[str, float]
    entropies: Mapping[str, float]
    rewards: Mapping[str, float]
    verifier: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EvaluationAlarm:
    """One alarm, and what raised it in words."""

    name: str
    text: str


def evaluation_alarms(base: Judged, trained: Judged, losses: Sequence[float]) -> list[EvaluationAlarm]:
    """The alarms that a trained model raises beside its base; `losses` are those of its steps, if known."""
    return [
        *_lengths(base, trained),
        *_entropies(base, trained),
        *_flat_reward(base, trained, losses),
        *_verifier_falls(base, trained),
    ]


def _lengths(base: Judged, trained: Judged) -> Iterator[EvaluationAlarm]:
    before, after, change = _compared(base.lengths, trained.lengths)
    if not before or after is None or not change.excludes_zero:
        return
    if after > LENGTH_FACTOR * before or after < before / LENGTH_FACTOR:
        yield EvaluationAlarm(
            "response_length",
            f"its answers have {after:.0f} tokens on average, the base model's {before:.0f}; the alarm is at "
            f"{LENGTH_FACTOR:g} times as many, or half as many",
        )


def _entropies(base: Judged, trained: Judged) -> Iterator[EvaluationAlarm]:
    before, after, change = _compared(base.entropies, trained.entropies)
    if before and after is not None and change.excludes_zero and after < ENTROPY_SHARE * before:
        yield EvaluationAlarm(
            "response_entropy",
            f"its answers repeat themselves: the entropy of an answer's tokens is {after:.1f} bits on "
            f"average, the base model's {before:.1f}; the alarm is below {ENTROPY_SHARE * before:.1f}",
        )


def _flat_reward(base: Judged, trained: Judged, losses: Sequence[float]) -> Iterator[EvaluationAlarm]:
    *_, change = _compared(base.rewards, trained.rewards)
    ends = max(int(len(losses) * _ENDS), 1)
    if len(losses) < 2 or change.interval is None or change.interval[0] > 0:
        return
    first, last = (abs(sum(part)) / ends for part in (losses[:ends], losses[-ends:]))
    if first > 0 and last <= LOSS_SHARE * first:
        yield EvaluationAlarm(
            "flat_reward",
            f"its loss went from {first:.3g} to {last:.3g}, and its mean reward did not rise "
            f"({_interval(change)})",
        )


def _verifier_falls(base: Judged, trained: Judged) -> Iterator[EvaluationAlarm]:
    *_, reward = _compared(base.rewards, trained.rewards)
    *_, verifier = _compared(base.verifier, trained.verifier)
    rises = reward.interval is not None and reward.interval[0] > 0
    falls = verifier.interval is not None and verifier.interval[1] < 0
    if rises and falls:
        yield EvaluationAlarm(
            "verifier_falls",
            f"its mean reward rose ({_interval(reward)}) and the verifier's mean fell "
            f"({_interval(verifier.scaled(100))} points of 100): it exploits the reward model",
        )


def _compared(
    before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[float | None, float | None, Estimate]:
    """Both means and the difference, on the prompts that both have."""
    common = sorted(before.keys() & after.keys())
    first, second = ({key: values[key] for key in common} for values in (before, after))
    return (
        estimate(first.values()).mean,
        estimate(second.values()).mean,
        paired_difference(first, second),
    )


def _interval(change: Estimate) -> str:
    if change.interval is None or change.mean is None:
        return "no interval"
    return f"{change.mean:+.2f}, 95 % CI {change.interval[0]:+.2f} to {change.interval[1]:+.2f}"

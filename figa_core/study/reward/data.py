"""What `figa study reward` found, as plain records, and the statistics that follow from them. Pure.

Scores are the verifier's, in points of 100, on the held-out prompts, all of which judge: no learning rate is
chosen. No result of a variant rests on its own reward model.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from figa_core.evaluation.contrast import Contrast, corrected
from figa_core.evaluation.crossed import (
    UNTRAINED,
    CrossedEstimate,
    SeedValues,
    crossed,
    crossed_difference,
)
from figa_core.storage.preference_pairs import VerifiedPairs
from figa_core.study.reward.accuracy import Accuracy


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """One training of a variant: prompt id → score, or why there is none."""

    seed: int
    training_id: str
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VariantOutcome:
    """The run with one reward.

    Attributes:
        reward: what its reward is, in words.
        accuracy: on the held-out pairs; None if it was not measured.
        pairs: what became of the candidates, by the verifier; None if the filter kept nothing.
        trained_on: pairs in its shard set.
        thresholds: of the filter, in the reward's own units.
        figures: of the reward model's training; empty for the run's own.
        unable: why it has no trainings.
    """

    key: str
    label: str
    reward: str
    run_id: str
    accuracy: Accuracy | None = None
    pairs: VerifiedPairs | None = None
    trained_on: int = 0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    trainings: tuple[SeedOutcome, ...] = ()
    unable: str = ""

    @property
    def values(self) -> SeedValues:
        return {each.seed: each.scores for each in self.trainings if each.scores}

    @property
    def mistakes(self) -> Accuracy | None:
        """The share of its pairs in which Ỹ is not better than Ŷ by the verifier."""
        if self.pairs is None or not self.pairs.verified:
            return None
        return Accuracy(float(self.pairs.mistakes), self.pairs.verified)


@dataclass(frozen=True)
class RewardStudy:
    """A study, ready to be shown.

    Attributes:
        base: the untrained model's scores by prompt id.
        variants: the run's own reward first, then the model of all pairs.
        training_pairs, held_out_pairs: of the reward models; `pairs_from` says where they come from.
        thresholds: of the filter as quantiles, by setting: what the variants share.
        notes: what a reader must know.
    """

    workspace: str
    run_id: str
    created_at: str
    verifier: str
    base: Mapping[str, float]
    variants: tuple[VariantOutcome, ...]
    training_pairs: int
    held_out_pairs: int
    pairs_from: str
    thresholds: Mapping[str, str]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def base_score(self) -> CrossedEstimate:
        return crossed({UNTRAINED: self.base})

    @cached_property
    def scores(self) -> dict[str, CrossedEstimate]:
        """By the key of each variant that was judged."""
        return {each.key: crossed(each.values) for each in self.variants if each.values}

    @cached_property
    def to_base(self) -> dict[str, Contrast]:
        """Each judged variant − the base model, by its key."""
        return {each.one: each for each in self._contrasts if each.other == "base"}

    @cached_property
    def to_full(self) -> dict[str, Contrast]:
        """Each judged variant − the reward model of all pairs, by its key."""
        return {each.one: each for each in self._contrasts if each.other == "full"}

    @cached_property
    def _contrasts(self) -> list[Contrast]:
        judged = [each for each in self.variants if each.values]
        found = [_contrast(each, "base", {UNTRAINED: self.base}) for each in judged]
        full = next((each for each in judged if each.key == "full"), None)
        if full is not None:
            found += [_contrast(each, "full", full.values) for each in judged if each is not full]
        return corrected(found)

    def as_json(self) -> dict[str, Any]:
        """Every figure; scores with their own 95 % interval, differences with the simultaneous one."""
        return {
            "workspace": self.workspace,
            "run_id": self.run_id,
            "created_at": self.created_at,
            "verifier": self.verifier,
            "base": _estimate(self.base_score),
            "seeds": self.seeds,
            "preference_pairs": {
                "from": self.pairs_from,
                "training": self.training_pairs,
                "held_out": self.held_out_pairs,
            },
            "thresholds": dict(self.thresholds),
            "variants": [self._variant(each) for each in self.variants],
            "notes": self.notes,
        }

    def _variant(self, each: VariantOutcome) -> dict[str, Any]:
        score = self.scores.get(each.key)
        return {
            "key": each.key,
            "label": each.label,
            "reward": each.reward,
            "run_id": each.run_id,
            "unable": each.unable or None,
            "pairwise_accuracy": None if each.accuracy is None else _share(each.accuracy),
            "score": None if score is None else _estimate(score),
            "against_base": _as_json(self.to_base.get(each.key)),
            "against_all_pairs": _as_json(self.to_full.get(each.key)),
            "pairs": None if each.pairs is None else asdict(each.pairs),
            "mistakes": None if each.mistakes is None else _share(each.mistakes),
            "trained_on": each.trained_on,
            "thresholds": dict(each.thresholds),
            "reward_model": dict(each.figures),
            "trainings": [
                {
                    "seed": training.seed,
                    "training_id": training.training_id,
                    "score": _mean(training.scores),
                    "reason": training.reason or None,
                }
                for training in each.trainings
            ],
        }


def _contrast(one: VariantOutcome, name: str, values: SeedValues) -> Contrast:
    return Contrast(one.key, name, crossed_difference(values, one.values))


def _mean(scores: Mapping[str, float]) -> float | None:
    return sum(scores[key] for key in sorted(scores)) / len(scores) if scores else None


def _estimate(found: CrossedEstimate) -> dict[str, Any]:
    return {**asdict(found), "interval": found.interval()}


def _share(found: Accuracy) -> dict[str, Any]:
    return {
        "share": found.share,
        "interval": found.interval(),
        "pairs": found.pairs,
        "left_out": found.left_out,
    }


def _as_json(found: Contrast | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "change": _estimate(found.change),
        "simultaneous_interval": found.interval,
        "p_adjusted": found.p_adjusted,
        "told_apart": found.told_apart,
    }

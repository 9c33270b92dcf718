"""Everything that the comparison of methods shows, as plain records: no database, model or config is needed.

Scores are in the unit in which they are shown (`comparison.Metric`): points of 100 for a verifier.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean

from figa_core.evaluation.cost import NOTHING, Cost
from figa_core.evaluation.crossed import UNTRAINED, SeedValues
from figa_core.report.benchmarks import Benchmarks
from figa_core.report.comparison import Metric
from figa_core.report.data import TrainingCurve


class Outcome(StrEnum):
    """What came of a training."""

    JUDGED = "judged"
    DIVERGED = "diverged"  # the same training would diverge again
    FAILED = "failed"  # the same command tries it again


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """One training: prompt id → score on the prompts that choose, and on those that judge.

    `reason` says why it was not judged, or what is odd about it. `model` is the directory of its
    model if that was kept. `kl_from_base` is in nats per token, as its last probe measured it.
    """

    learning_rate: float
    seed: int
    training_id: str
    outcome: Outcome
    reason: str = ""
    validation: Mapping[str, float] = field(default_factory=dict)
    judged: Mapping[str, float] = field(default_factory=dict)
    cost: Cost = NOTHING
    kl_from_base: float | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A method's trainings after so many optimizer steps, at the chosen rate: one for each seed."""

    steps: int
    trainings: tuple[TrainingOutcome, ...]

    @property
    def values(self) -> SeedValues:
        """The scores of the judging prompts."""
        return {each.seed: each.judged for each in judged(self.trainings)}


@dataclass(frozen=True, slots=True)
class MethodOutcome:
    """One method at one number of pairs: a row of the table.

    `unable` says why it cannot run on these pairs. `data_cost` is what its pairs cost, `pass_cost` a pass
    of the reference model over them. `open_rates`: those of the sweep that failed and are tried again; until
    they are judged, the chosen rate may change, and other seeds are not trained. `curve` is the training of
    the first seed at the chosen rate. `after_steps` are the judged steps of a curve, ascending, the whole
    trainings last; or empty.
    """

    name: str
    objective: str
    pairs: int
    trainings: tuple[TrainingOutcome, ...] = ()
    unable: str = ""
    data_cost: Cost = NOTHING
    pass_cost: Cost = NOTHING
    open_rates: tuple[float, ...] = ()
    curve: TrainingCurve | None = None
    after_steps: tuple[CurvePoint, ...] = ()

    @property
    def learning_rate(self) -> float | None:
        """The rate that the validation prompts choose; None if no training was judged."""
        return best_rate(self.trainings)

    @property
    def chosen(self) -> tuple[TrainingOutcome, ...]:
        """The judged trainings at that rate."""
        rate = self.learning_rate
        return tuple(each for each in judged(self.trainings) if each.learning_rate == rate)

    @property
    def best(self) -> TrainingOutcome | None:
        """The training whose model is the method's result; None if none was judged."""
        return best_training(self.trainings)

    @property
    def values(self) -> SeedValues:
        """The scores of the judging prompts at the chosen rate."""
        return {each.seed: each.judged for each in self.chosen}

    @property
    def sweep_cost(self) -> Cost:
        """Of all its trainings."""
        return sum((each.cost for each in self.trainings), Cost())


@dataclass(frozen=True, slots=True)
class MethodsData:
    """A comparison, ready to be computed and rendered.

    `base` holds the untrained model's scores of the judging prompts, `validation_prompts` counts the others.
    `types` maps a prompt's id to its type, if the data name one. `against`: "all" or "first". `rewards`: what
    methods of reinforcement learning learn from; several are combined. `dependent_judge`: a sentence if the
    judge also chose the pairs. `benchmarks` has what lm-eval found
    for the base and each method's best model, by `label`.
    """

    workspace: str
    run_id: str
    created_at: str
    metric: Metric
    base: Mapping[str, float]
    methods: tuple[MethodOutcome, ...]
    validation_prompts: int
    against: str = "all"
    types: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rewards: tuple[str, ...] = ()
    dependent_judge: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    benchmarks: Benchmarks = field(default_factory=Benchmarks)

    def label(self, method: MethodOutcome) -> str:
        """The method's name, with its number of pairs if there are several."""
        several = len({each.pairs for each in self.methods}) > 1
        return f"{method.name}, {method.pairs:,} pairs" if several else method.name

    @property
    def base_values(self) -> SeedValues:
        return {UNTRAINED: self.base}


def judged(trainings: tuple[TrainingOutcome, ...]) -> tuple[TrainingOutcome, ...]:
    """Those with scores of both parts."""
    return tuple(each for each in trainings if each.outcome is Outcome.JUDGED and each.validation)


def validation_means(trainings: tuple[TrainingOutcome, ...]) -> dict[float, list[float]]:
    """Learning rate → the mean validation score of each seed that was judged."""
    found: dict[float, list[float]] = {}
    for each in judged(trainings):
        found.setdefault(each.learning_rate, []).append(fmean(each.validation.values()))
    return found


def best_rate(trainings: tuple[TrainingOutcome, ...]) -> float | None:
    """The rate with the highest mean validation score; of equal ones the lowest.

    A rate at which a training diverged or failed counts only if that is so at every rate.
    """
    means = validation_means(trainings)
    most = max((len(seeds) for seeds in means.values()), default=0)
    whole = sorted(rate for rate, seeds in means.items() if len(seeds) == most)
    return max(whole, key=lambda rate: fmean(means[rate]), default=None)


def best_training(trainings: tuple[TrainingOutcome, ...]) -> TrainingOutcome | None:
    """Of the chosen rate, the training with the highest validation score."""
    rate = best_rate(trainings)
    candidates = [each for each in judged(trainings) if each.learning_rate == rate]
    return max(candidates, key=lambda each: fmean(each.validation.values()), default=None)

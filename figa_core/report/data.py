"""Everything the report shows, as plain frozen records: rendering needs no database, model or config.

Every part may be missing (empty or None); the report then shows a sentence instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from figa_core.evaluation.preference import Preference
from figa_core.evaluation.statistics import Estimate
from figa_core.records import EditClass, Message
from figa_core.report.benchmarks import Benchmarks
from figa_core.report.funnel import Funnel


@dataclass(frozen=True, slots=True)
class RewardSamples:
    """Raw reward logits of this run: all scored responses Ŷ, revisions Ỹ and references Y.

    The two thresholds are the filter's resolved numbers, drawn if given.
    """

    initial: tuple[float, ...] = ()
    revised: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()
    response_below: float | None = None
    reference_above: float | None = None


@dataclass(frozen=True, slots=True)
class RewardFacts:
    """One of several rewards: what it is, what it is used for, and its values for the run's responses Ŷ.

    `deviation` is their standard deviation; both are None without any. `without` counts the responses without
    a value by reason.
    """

    name: str
    kind: str
    uses: tuple[str, ...]
    weight: float
    rated: int
    mean: float | None = None
    deviation: float | None = None
    without: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text with one edit class; `tokens` is its number of tokens."""

    text: str
    edit: EditClass
    tokens: int


@dataclass(frozen=True, slots=True)
class Example:
    """One admitted pair: Ŷ and Ỹ as coloured spans (`tokens.spans_of`), raw rewards, reference if any.

    `type` is what the user's data call prompts of this kind.
    """

    messages: tuple[Message, ...]
    initial: tuple[Span, ...]
    revised: tuple[Span, ...]
    initial_reward: float
    revised_reward: float
    reference: str | None = None
    reference_reward: float | None = None
    type: str | None = None

    @property
    def gain(self) -> float:
        """R(Ỹ) − R(Ŷ)."""
        return self.revised_reward - self.initial_reward


@dataclass(frozen=True, slots=True)
class HeldOutAnswer:
    """A held-out prompt, the answers of the base and of the run's model, and the judge's score of each."""

    messages: tuple[Message, ...]
    base: str
    trained: str
    base_score: float
    trained_score: float
    type: str | None = None

    @property
    def change(self) -> float:
        """The model's score − the base's."""
        return self.trained_score - self.base_score


@dataclass(frozen=True, slots=True)
class TrainingCurve:
    """One training: `series` maps a metric's name ("loss") to one value per step; None leaves a gap.

    `facts` are shown unchanged, such as {"pairs per step": "32", "wall time": "74 s"}. `seconds` is the wall
    time, None for a training that has not finished; `ended_by` is the alarm that ended it early, if one did.
    """

    label: str
    steps: tuple[int, ...]
    series: Mapping[str, tuple[float | None, ...]]
    facts: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    ended_by: str | None = None


@dataclass(frozen=True, slots=True)
class ModelChange:
    """How much a training changed the base model.

    `updates` of its `steps` changed weights; `overflowed` of the others had a gradient that was not finite.
    `relative` is ‖after − before‖ / ‖before‖ over all weights; of `compared` held-out responses `same` are
    the base's, word for word. The models were judged in `dtype` and `base_dtype`; storing the base in `dtype`
    alone would change it by `rounding`. None if unknown.
    """

    updates: int
    steps: int
    overflowed: int = 0
    relative: float | None = None
    same: int = 0
    compared: int = 0
    dtype: str | None = None
    base_dtype: str | None = None
    rounding: float | None = None


@dataclass(frozen=True, slots=True)
class ModelScores:
    """One model judged on held-out prompts: prompt id → raw reward, and prompt id → verifier (0 to 1).

    Models with the same `identity` have the same weights. `change` is None if it was not trained here, and
    so is `directory`, which holds the model.
    """

    label: str
    rewards: Mapping[str, float]
    verifier: Mapping[str, float] = field(default_factory=dict)
    identity: str | None = None
    change: ModelChange | None = None
    directory: str | None = None

    def is_same_model(self, other: "ModelScores") -> bool:
        """Whether their weights are known to be equal, value by value."""
        return self.identity is not None and self.identity == other.identity


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """How far the LLM `judge` prefers the answers of the model `other` to those of `one`."""

    one: str
    other: str
    judge: str
    found: Preference


@dataclass(frozen=True, slots=True)
class RevisionCalls:
    """The calls to the reviser and their results.

    `outcomes` counts rows by status (succeeded, unchanged, …), `attempts` counts calls by kind (ok,
    rate limited, timeout, …). `calls_this_run` counts the calls that this run sent; earlier runs paid for
    the others.
    """

    model: str
    calls: int
    outcomes: Mapping[str, int]
    attempts: Mapping[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    wall_time_s: float | None = None
    cost: str | None = None
    calls_this_run: int | None = None


@dataclass(frozen=True, slots=True)
class Spending:
    """All calls to language models for a run's rows: reviser, graders and judges.

    `usd` is None if no call has a price; `estimated_usd` is the part of it without a usage. The cost of the
    `unpriced` calls is in no figure.
    """

    usd: float | None = None
    estimated_usd: float | None = None
    calls: int = 0
    unpriced: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class SchemeJudged:
    """What people said of a run's changes as one weighting scheme marks them.

    `matters`, `does_not` and `worse` are shares of the changes, 0 to 1; where people differ, a change counts
    in parts. `alpha` is Krippendorff's, over the `judged_twice` changes that at least two people judged; None
    if it is not defined. `blind` of the `judgements` were made with the sides hidden.
    """

    scheme: str
    annotators: tuple[str, ...]
    pairs: int
    changes: int
    matters: Estimate
    does_not: Estimate
    worse: Estimate
    alpha: float | None
    judged_twice: int
    judgements: int
    blind: int


@dataclass(frozen=True, slots=True)
class PeopleSaid:
    """What people did with a run's pairs: judgements by scheme, pairs thrown out, and revisions corrected."""

    schemes: tuple[SchemeJudged, ...] = ()
    thrown_out: int = 0
    corrected: int = 0


@dataclass(frozen=True, slots=True)
class ReportData:
    """One run, ready to be rendered.

    `reward_facts` is empty if there is one reward model only.
    `base` is the model before training, `main` the run's model, and `baselines` are the models it is compared
    with. `unjudged` names the main model if it was trained but no prompt is held out to judge it on.
    `created_at` is text, so that rendering reads no clock. `configuration` maps section to setting
    to value (`configuration.configuration_sections`), `versions` maps library to version. `alarms` says what
    seems wrong with a model, by its label. `judged_pairs` are models whose answers an LLM compared, and
    `benchmarks` what lm-eval found.
    `answers` go from the most worsened to the most improved. `judge_chose_pairs`: the reward that judges the
    models also chose the pairs that they were trained on. `dataset_only`: no training was asked for.
    `failure` says why the run failed, if it did. `types` has what the user's data call the kinds of prompts,
    by prompt id.
    """

    workspace: str
    run_id: str
    created_at: str
    funnel: Funnel = field(default_factory=lambda: Funnel(()))
    rewards: RewardSamples = field(default_factory=RewardSamples)
    reward_facts: tuple[RewardFacts, ...] = ()
    examples: tuple[Example, ...] = ()
    curves: tuple[TrainingCurve, ...] = ()
    base: ModelScores | None = None
    main: ModelScores | None = None
    baselines: tuple[ModelScores, ...] = ()
    unjudged: str | None = None
    configuration: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    revision_calls: RevisionCalls | None = None
    notes: tuple[str, ...] = ()
    alarms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    people: PeopleSaid = PeopleSaid()
    judged_pairs: tuple[JudgedPair, ...] = ()
    answers: tuple[HeldOutAnswer, ...] = ()
    spending: Spending = Spending()
    judge_chose_pairs: bool = False
    dataset_only: bool = False
    failure: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    benchmarks: Benchmarks = field(default_factory=Benchmarks)

    @property
    def models(self) -> tuple[ModelScores, ...]:
        """All models but the base, the main one first."""
        return self.baselines if self.main is None else (self.main, *self.baselines)

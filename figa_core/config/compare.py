"""What `figa compare` trains and how it judges. None of it changes a run's rows or enters its id."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from figa_core.config.decisions import nothing
from figa_core.config.optimization import HeldOutConfig, LoraConfig, OptimizerConfig, ScheduleConfig
from figa_core.config.section import Section
from figa_core.config.training import LossConfig, Scheme, TrainingConfig
from figa_core.config.values import MethodName, one_line
from figa_core.rl.methods import is_rl, rl_method
from figa_core.training.objectives.registry import label_of

ALL_PAIRS = "all"


_READ_BY_RL = {"kl_weight", "token_budget"}


def _each_once(values: Sequence[object]) -> Any:
    if len(set(values)) < len(values):
        raise ValueError("a value is listed twice; list each once")
    return values


def _at_least_one(values: Sequence[object]) -> Any:
    if not values:
        raise ValueError("the list is empty; give at least one value")
    return values


_Rate = Annotated[float, Field(gt=0)]
_Rates = Annotated[tuple[_Rate, ...], AfterValidator(_at_least_one), AfterValidator(_each_once)]
_Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, le=2**32 - 1)], ...],
    AfterValidator(_at_least_one),
    AfterValidator(_each_once),
]
_Sizes = Annotated[
    tuple[Annotated[int, Field(ge=1)] | Literal["all"], ...],
    AfterValidator(_at_least_one),
    AfterValidator(_each_once),
]
_Steps = Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_each_once)]
_Label = Annotated[str, AfterValidator(one_line)]
_TABLES = ("schedule", "optimizer", "held_out", "lora")


class MethodConfig(LossConfig):
    """One method: an objective, and the settings of `[loss]` and of the tables of `[training]` that differ;
    the others are as there.

    Or a method of reinforcement learning (grpo, rloo, ppo), which reads `kl_weight` and `token_budget` only.
    In a list of methods, a name alone means the method of that name.
    """

    objective: MethodName = nothing(
        ..., "The objective, as in [loss]; or grpo, rloo or ppo, which TRL trains on the reward."
    )
    label: _Label | None = nothing(None, 'Its name in the report; "none" for one made from its settings.')
    scheme: Scheme | None = nothing(None, 'As [weighting] scheme; "none" for the scheme of the run.')
    learning_rates: _Rates | None = nothing(
        None, 'Rates to try for this method; "none" for those of [compare].'
    )
    schedule: ScheduleConfig | None = nothing(
        None, 'Settings that differ from [training.schedule]; "none" for no difference.'
    )
    optimizer: OptimizerConfig | None = nothing(
        None, 'Settings that differ from [training.optimizer]; "none" for no difference.'
    )
    held_out: HeldOutConfig | None = nothing(
        None, 'Settings that differ from [training.held_out]; "none" for no difference.'
    )
    lora: LoraConfig | None = nothing(
        None, 'Settings that differ from [training.lora]; "none" for no difference.'
    )

    token_budget: float = nothing(
        1.0,
        "Of grpo, rloo and ppo: the tokens that they generate, as a multiple of those that the pairs cost.",
        gt=0,
        le=10_000,
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"objective": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _with_what_it_reads(self) -> "MethodConfig":
        given = self.model_fields_set - {"objective", "label", "learning_rates"}
        unread = given - _READ_BY_RL if is_rl(self.objective) else given & {"token_budget"}
        if unread:
            what = f"{self.objective} does not read {' and '.join(sorted(unread))}"
            raise ValueError(f"{what}; leave it out" if len(unread) == 1 else f"{what}; leave them out")
        return self

    @model_serializer(mode="wrap")
    def _only_what_was_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A setting at its default and one that was left out differ: the latter is as in `[loss]`."""
        given = {name: value for name, value in handler(self).items() if name in self.model_fields_set}
        return given | {
            name: {field: value for field, value in given[name].items() if field in table.model_fields_set}
            for name, table in self._tables().items()
        }

    @property
    def name(self) -> str:
        """Its label, or the objective's with the settings that were given."""
        if self.label:
            return self.label
        given = [f"{name} {_shown(value)}" for name, value in sorted(self._given().items())]
        given += [
            f"{name if field == 'kind' else field} {_shown(value)}"
            for name, table in self._tables().items()
            for field, value in _fields_given(table).items()
        ]
        given += [self.scheme] if self.scheme else []
        if is_rl(self.objective):
            given += [f"{self.token_budget:g} × the tokens"] if self.token_budget != 1 else []
            return rl_method(self.objective).label + (f" ({', '.join(given)})" if given else "")
        return label_of(self.objective) + (f" ({', '.join(given)})" if given else "")

    def loss(self, usual: LossConfig) -> LossConfig:
        """The `[loss]` section of its trainings, given that of the run."""
        return usual.model_copy(update={"objective": self.objective, **self._given()})

    def training(self, usual: TrainingConfig) -> TrainingConfig:
        """The `[training]` section of its trainings, given that of the run."""
        return usual.model_copy(
            update={
                name: getattr(usual, name).model_copy(update=_fields_given(table))
                for name, table in self._tables().items()
            }
        )

    def _given(self) -> dict[str, Any]:
        names = (LossConfig.model_fields.keys() & self.model_fields_set) - {"objective"}
        return {name: getattr(self, name) for name in names}

    def _tables(self) -> dict[str, Section]:
        tables = {name: getattr(self, name) for name in _TABLES}
        return {name: table for name, table in tables.items() if table is not None}


def _fields_given(section: Section) -> dict[str, Any]:
    return {
        name: getattr(section, name)
        for name in type(section).model_fields
        if name in section.model_fields_set
    }


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " and ".join(map(str, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _differently_named(methods: tuple[MethodConfig, ...]) -> tuple[MethodConfig, ...]:
    names = [method.name for method in methods]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several methods are called {twice[0]!r}; give each its own label")
    return methods


class CompareConfig(Section):
    """`figa compare`: methods × learning rates × seeds × numbers of pairs, on the pairs of one run."""

    methods: Annotated[tuple[MethodConfig, ...], AfterValidator(_differently_named)] = nothing(
        (),
        "Objectives, or settings that differ from [loss]; an empty list for every objective there is. grpo, "
        "rloo and ppo must be named.",
    )
    seeds: _Seeds = nothing((0, 1, 2), "Seeds of the trainings; intervals cover them from two on.")
    learning_rates: _Rates = nothing((3e-6, 1e-5, 3e-5), "Rates to try with every method.")
    sweep_seeds: int | None = nothing(
        None,
        "Seeds, the first ones, with which every rate is tried; the others are trained at the chosen rate "
        'only. "none" for every rate with every seed.',
        ge=1,
    )
    pairs: _Sizes = nothing(
        (ALL_PAIRS,), 'Numbers of pairs to train on, drawn by the seed; "all" for the whole set.'
    )
    curve_steps: _Steps = nothing(
        (),
        "Each method is also judged after so many optimizer steps at its chosen rate, for a curve over the "
        "steps. Each number costs a training of so many steps for every seed, and its judging.",
    )
    validation_share: float = nothing(
        0.3, "Share of the held-out prompts that chooses the learning rates; the others judge.", gt=0, lt=1
    )
    against: Literal["all", "first"] = nothing(
        "all", "all: every two methods are compared; first: the first method with each other one."
    )
    keep_models: Literal["best", "all"] = nothing(
        "best", "best: of each method and number of pairs, only the model that is best on validation."
    )

    @property
    def swept_seeds(self) -> tuple[int, ...]:
        """The seeds with which every rate is tried."""
        return self.seeds[: self.sweep_seeds]

    def trainings(self, rates: int) -> int:
        """How many trainings a method with so many rates takes at one number of pairs."""
        return rates * len(self.swept_seeds) + len(self.seeds) - len(self.swept_seeds)

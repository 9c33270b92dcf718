"""Objectives by name: what the settings may name, and what reports call it.

To add one, write a subclass of `base.Objective` and name it here, or call `register_objective`.
"""

from typing import TYPE_CHECKING

from figa_core.errors import ConfigError
from figa_core.training.objectives.base import Objective
from figa_core.training.objectives.figa import Figa
from figa_core.training.objectives.sft import Sft
from figa_core.training.objectives.sft_revised import SftRevised
from figa_core.training.objectives.unlikelihood import Unlikelihood

if TYPE_CHECKING:
    from figa_core.config import LossConfig

_objectives: dict[str, type[Objective]] = {}


def register_objective(objective: type[Objective]) -> None:
    """Let the settings name this objective."""
    _objectives[objective.name] = objective


for each in (Figa, Sft, SftRevised, Unlikelihood):
    register_objective(each)


def objective_names() -> tuple[str, ...]:
    """What the settings may name."""
    return tuple(_objectives)


def objective_named(name: str) -> type[Objective]:
    """The objective of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in _objectives:
        raise ConfigError(f"no objective is called {name!r}; there are {', '.join(_objectives)}.")
    return _objectives[name]


def make_objective(loss: "LossConfig") -> Objective:
    """The objective that the settings name, with its settings. Raises ConfigError like `objective_named`."""
    return objective_named(loss.objective)(loss)


def label_of(name: str) -> str:
    """What a model trained with this objective is called. Raises ConfigError like `objective_named`."""
    return objective_named(name).label

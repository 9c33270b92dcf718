"""Objectives by name. To add one, write a subclass of `base.Objective` and register it here or elsewhere."""

from typing import TYPE_CHECKING

from figa_core.errors import ConfigError
from figa_core.training.objectives.apo_zero import ApoZero
from figa_core.training.objectives.base import Objective
from figa_core.training.objectives.coh import Coh
from figa_core.training.objectives.dft import Dft, DftReference
from figa_core.training.objectives.dpo import Dpo
from figa_core.training.objectives.figa import Figa
from figa_core.training.objectives.rrhf import Rrhf
from figa_core.training.objectives.sft import Sft
from figa_core.training.objectives.sft_best import SftBest
from figa_core.training.objectives.sft_revised import SftRevised
from figa_core.training.objectives.simpo import Simpo
from figa_core.training.objectives.unlikelihood import Unlikelihood

if TYPE_CHECKING:
    from figa_core.config import LossConfig

_OURS = (Figa, Sft, SftRevised, Unlikelihood, Dpo, ApoZero, Simpo, Rrhf, Dft, DftReference, Coh, SftBest)
_objectives: dict[str, type[Objective]] = {each.name: each for each in _OURS}


def register_objective(objective: type[Objective]) -> None:
    """Allow this objective in the settings."""
    _objectives[objective.name] = objective


def objective_names() -> tuple[str, ...]:
    return tuple(_objectives)


def objective_named(name: str) -> type[Objective]:
    """The objective of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in _objectives:
        raise ConfigError(f"there is no objective {name!r}. Use one of {', '.join(_objectives)}.")
    return _objectives[name]


def make_objective(loss: "LossConfig") -> Objective:
    """The objective of the settings. Raises ConfigError like `objective_named`."""
    return objective_named(loss.objective)(loss)


def label_of(name: str) -> str:
    """The label of this objective. Raises ConfigError like `objective_named`."""
    return objective_named(name).label

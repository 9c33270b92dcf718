"""Where a training's figures go besides the workspace."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from figa_core.config.decisions import nothing
from figa_core.config.section import Section

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]


def _once(names: tuple[TrackerName, ...]) -> tuple[TrackerName, ...]:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(repeated)}: listed more than once; list each once")
    return names


def _project(name: str) -> str:
    """Refuse what W&B refuses, at the others' cost of nothing."""
    if not name.strip() or len(name) > 128 or not name.isprintable() or set(name) & set("/\\#?%:"):
        raise ValueError("must be a name of at most 128 characters, without / \\ # ? % :")
    return name


class TrackingConfig(Section):
    """Experiment trackers that get every figure of a training, its settings and its evaluation.

    Keys and addresses come from the trackers' own environment variables. A tracker never ends a training.
    """

    to: Annotated[tuple[TrackerName, ...], AfterValidator(_once)] = nothing(
        (), "The trackers, such as tensorboard and wandb; each is an extra to install: figa[wandb]."
    )
    project: Annotated[str, AfterValidator(_project)] = nothing(
        "figa", "The project (in MLflow: the experiment) that the trainings are part of there."
    )

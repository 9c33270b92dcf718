"""The libraries of trackers: which one each needs, whether it is here, and how to install it."""

from collections.abc import Iterable
from importlib.util import find_spec

LIBRARIES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
"""The module that each tracker imports. The extra of this package is called as the tracker."""


def missing(trackers: Iterable[str]) -> list[str]:
    """A sentence for each tracker whose library is not installed here."""
    return [
        f"{name}: the library {LIBRARIES[name]} is not installed. Install it: pip install 'figa[{name}]'"
        for name in trackers
        if find_spec(LIBRARIES[name]) is None
    ]

"""Work that a run has ordered on another machine: it must be readable here, and the model the same."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from figa_core.errors import EngineError

_T = TypeVar("_T")


def read_ordered(folder: Path, read: Callable[[], _T]) -> _T:
    """What is ordered in a folder; `read` reads it.

    Raises:
        EngineError: another version of figa wrote it.
    """
    try:
        return read()
    except (ValueError, KeyError) as error:
        raise EngineError(
            f"{folder}: this version of figa cannot read what is ordered there ({error}). Install on this "
            "machine the version of the run that orders it."
        ) from error


def check_same_model(model: Path, fingerprint: str, fingerprint_of: Callable[[Path], str]) -> None:
    """Raises EngineError unless the model's files here have the fingerprint that the run gave them."""
    if fingerprint_of(model) != fingerprint:
        raise EngineError(
            f"{model} is another model on this machine than where the run was started. Put the same files "
            "there, or on a disk that all machines see."
        )

"""What of a training's directory (`checkpoints.py`) is worth a copy for other machines, and how two compare.

Names are relative to the directory. The order is the one in which files are to appear in the copy: what seals
others comes last.
"""

import re
from collections.abc import Collection
from pathlib import Path

from figa_core.files import sealing_last, whole_files
from figa_core.training.checkpoints import DROPPED_NAME, MANIFEST_NAME, MODEL_NAME, WHOLE_NAME

_CHECKPOINTS = "checkpoints/"
_WHOLE = re.compile(rf"{_CHECKPOINTS}step-(\d+)/{WHOLE_NAME}")


def to_send(output: Path) -> list[str]:
    """Of the machine that trains: everything but what is not whole yet, and no checkpoint at the end."""
    names = whole_files(output)
    finished = MANIFEST_NAME in names
    whole = {name.rpartition("/")[0] for name in names if _WHOLE.fullmatch(name)}

    def is_worth(name: str) -> bool:
        if name.startswith(_CHECKPOINTS):
            return not finished and "/".join(name.split("/")[:2]) in whole
        return finished or not name.startswith(f"{MODEL_NAME}/")

    return sealing_last(filter(is_worth, names), WHOLE_NAME, MANIFEST_NAME, DROPPED_NAME)


def to_continue(names: Collection[str]) -> list[str]:
    """Of the names in a copy, those that a machine needs to go on, or to have the result."""
    wanted = result_of(names) if is_finished(names) else names
    return sealing_last(wanted, WHOLE_NAME, MANIFEST_NAME, DROPPED_NAME)


def result_of(names: Collection[str]) -> list[str]:
    """Of the names in a copy, the result, and the figures and errors of a training without one."""
    return sealing_last(
        (name for name in names if not name.startswith(_CHECKPOINTS)), MANIFEST_NAME, DROPPED_NAME
    )


def is_finished(names: Collection[str]) -> bool:
    """Whether the names are those of a finished training."""
    return MANIFEST_NAME in names


def newest_step(names: Collection[str]) -> int:
    """That of the newest whole checkpoint; 0 without one."""
    return max((int(found[1]) for name in names if (found := _WHOLE.fullmatch(name))), default=0)

"""What of a training's directory (`checkpoints.py`) is worth a copy for other machines, and how two compare.

Names are relative to the directory. The order is the one in which files are to appear in the copy: what seals
others comes last.
"""

import re
from collections.abc import Collection
from pathlib import Path

from figa_core.file_hashes import changed_files, read_sealed
from figa_core.files import sealing_last, whole_files
from figa_core.training.checkpoints import DROPPED_NAME, MANIFEST_NAME, MODEL_NAME, WHOLE_NAME, tag_of

_CHECKPOINTS = "checkpoints/"
_WHOLE = re.compile(rf"{_CHECKPOINTS}step-(\d+)/{WHOLE_NAME}")


def to_send(output: Path) -> list[str]:
    """Of the machine that trains: everything but what is not whole yet, and no checkpoint at the end."""
    names = whole_files(output)
    finished = MANIFEST_NAME in names
    others = [name for name in names if not name.startswith(_CHECKPOINTS)]
    if finished:
        return sealing_last(others, MANIFEST_NAME, DROPPED_NAME)
    figures = sealing_last((n for n in others if not n.startswith(f"{MODEL_NAME}/")), DROPPED_NAME)
    checkpoints = sorted((name.rpartition("/")[0] for name in names if _WHOLE.fullmatch(name)), reverse=True)
    for checkpoint in checkpoints:  # the newest first, and each sealed before the next is begun
        figures += sealing_last((n for n in names if n.startswith(f"{checkpoint}/")), WHOLE_NAME)
    return figures


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


def is_whole(directory: Path) -> bool:
    """Whether a copy of a training holds what its seals say: the model, or the newest checkpoint."""
    try:
        if (directory / MANIFEST_NAME).exists():
            return not changed_files(directory / MODEL_NAME, read_sealed(directory / MANIFEST_NAME)["files"])
        newest = directory / _CHECKPOINTS / tag_of(newest_step(whole_files(directory)))
        return not changed_files(newest, read_sealed(newest / WHOLE_NAME)["files"])
    except (OSError, ValueError, KeyError):
        return False


def newest_step(names: Collection[str]) -> int:
    """That of the newest whole checkpoint; 0 without one."""
    return max((int(found[1]) for name in names if (found := _WHOLE.fullmatch(name))), default=0)

"""Finds Python interpreters of other environments by what is installed in them, without loading it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_TIMEOUT_S = 60.0


def environments_named(folder: str) -> Iterator[Path]:
    """The interpreters of environments of this name beside this one, in the working directory or above."""
    for parent in (Path(sys.prefix).parent, Path.cwd(), *Path.cwd().parents):
        python = parent / folder / "bin" / "python"
        if python.exists():
            yield python


def why_not(python: Path, program: str, reason: Callable[[str], str | None]) -> str | None:
    """Why an interpreter cannot be used; None if a quick check finds no reason.

    It runs `program`, and `reason` judges what that prints.
    """
    try:
        answer = subprocess.run(
            [str(python), "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        return f"it cannot be started ({error.strerror or error})"
    except subprocess.TimeoutExpired:
        return f"it did not answer in {_TIMEOUT_S:.0f} s"
    if answer.returncode != 0:
        output = answer.stderr.decode(errors="replace").strip().splitlines()
        what = output[-1][:200] if output else f"exit code {answer.returncode}"
        return f"it is not a working Python ({what})"
    return reason(answer.stdout.decode(errors="replace"))


def lacking(printed: str) -> str | None:
    """A reason for `why_not` from a list of missing packages."""
    missing = printed.split()
    return f"it has no {' and no '.join(missing)}" if missing else None

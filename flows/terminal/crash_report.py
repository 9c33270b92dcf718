"""Unexpected errors: the traceback goes to a file, one line to the terminal."""

import tempfile
import time
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path


def report_crash(error: BaseException, directories: Iterable[Path]) -> str:
    """Write the traceback to the first writable directory, the one for temporary files last.

    Returns the line to show.
    """
    text = "".join(traceback.format_exception(error))
    path = next((p for d in [*directories, Path(tempfile.gettempdir())] if (p := _written(d, text))), None)
    where = f"is in {path}" if path else f"could not be written ({_place(error)})"
    return (
        f"error: unexpected, a bug in figa: {_in_one_line(error)}; its traceback {where}. Please report it."
    )


def _written(directory: Path, text: str) -> Path | None:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"figa-crash-{stamp}-{time.monotonic_ns() % 10_000:04}.txt"
        path.write_text(text, encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
    return path


def _in_one_line(error: BaseException) -> str:
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "at an unknown place"

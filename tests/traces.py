"""Where a secret text may be found: in files, and in the command lines of processes."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

_LOOK_EVERY_S = 0.2


def files_with(text: str, *directories: Path) -> list[Path]:
    """The files below these directories whose bytes contain the text."""
    paths = (path for directory in directories for path in directory.rglob("*") if path.is_file())
    return [path for path in paths if text.encode() in _content(path)]


@contextlib.contextmanager
def process_listing() -> Iterator[set[str]]:
    """The command lines of this machine's processes at any look while the block runs."""
    found, stopped = set[str](), threading.Event()

    def look() -> None:
        while not stopped.wait(_LOOK_EVERY_S):
            found.update(" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stopped.set()
        thread.join()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # removed meanwhile
        return b""

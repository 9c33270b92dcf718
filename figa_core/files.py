"""Files from outside, opened only where they are files: a pipe is waited for, a device may never end."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def require_regular(path: Path) -> None:
    """Return if `path` is a file that can be read to its end, or a directory.

    Raises:
        OSError: it is something else, or nothing; `strerror` says it in words.
    """
    mode = path.stat().st_mode
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise OSError(errno.EINVAL, f"it is {name}, not a regular file", os.fspath(path))


def open_regular(path: Path) -> BufferedReader:
    """The file, opened to be read as bytes; raises OSError as `open` and `require_regular` do."""
    require_regular(path)
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """All of the file; raises OSError as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()

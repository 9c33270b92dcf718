"""Reading the user's files, and writing files that others read.

A user's path may name a pipe, which would block, or a device, which may never end: only regular files are
opened. A file of ours replaces its predecessor only when it is complete.
"""

import contextlib
import errno
import glob
import os
import stat
import time
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import BinaryIO

PARTIAL = ".partial"
"""The end of a name that a file or directory has while it is written."""

_TAIL_BYTES = 2**16
_ABANDONED_S = 3600.0


def require_regular(path: Path) -> None:
    """Return if `path` is a file that can be read to its end, or a directory.

    Raises OSError if it is something else, or does not exist; `strerror` is the reason in words.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))


def open_regular(path: Path) -> BufferedReader:
    """The file, opened to be read as bytes; raises OSError as `open` and `require_regular` do."""
    require_regular(path)
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """All of the file; raises OSError as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def last_lines(path: Path, count: int) -> str:
    """The last lines of a log that are not empty; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def files_below(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every regular file below, with its state; what is removed meanwhile is left out."""
    for folder, _, names in os.walk(directory):
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG((state := path.stat()).st_mode):
                    yield path, state


def whole_files(directory: Path) -> list[str]:
    """The files below a directory, but for locks and what is still being written; sorted."""
    found = list[str]()
    for folder, below, names in os.walk(directory):
        below[:] = [name for name in below if not name.endswith(PARTIAL)]
        inside = Path(folder).relative_to(directory)
        found += [(inside / name).as_posix() for name in names if not name.endswith((PARTIAL, ".lock"))]
    return sorted(found)


def sealing_last(names: Iterable[str], *seals: str) -> list[str]:
    """The names in order, but those of files that seal others (by the last part of the name) at the end."""
    return sorted(names, key=lambda name: (PurePosixPath(name).name in seals, name))


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A file to write. It replaces `path` when the context ends without an error: readers see all or nothing.

    It is written beside `path` under a name with this process's id, so several processes may replace one
    file. After an error it is removed; if its writer was killed, the next one removes it after an hour. With
    `durable` its content is on the disk before it replaces anything.
    """
    _remove_abandoned(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _remove_abandoned(path: Path) -> None:
    """By age, because processes of other machines on a shared file system cannot be looked up."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL}"):
        with contextlib.suppress(OSError):
            if time.time() - partial.stat().st_mtime > _ABANDONED_S:
                partial.unlink()


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace the file's content; see `replacing`."""
    with replacing(path, durable=durable) as file:
        file.write(content)

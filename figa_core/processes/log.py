"""Logs a child's messages in the run that started it; the child's whole output stays in its file.

While a child (the vLLM worker, the ranks of a training) writes to its file, a thread reads it. It logs the
messages that `tell` marked, and crashes of native code, which cannot be marked. Repetitions (by each rank, or
with other numbers) and floods stay in the file only.
"""

import contextvars
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from figa_core.processes import tell

_POLL_S = 0.25
_CHUNK_BYTES = 1 << 16
_LONGEST_LINE = 2000
_LEVELS = {None: logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Each level has its own limit, so that errors, which come last, are never crowded out.
_MOST = {logging.ERROR: 20, logging.WARNING: 20, logging.INFO: 10}
_BREAKS = re.compile(rb"[\r\n]+")  # a progress bar is many lines
_MARK = tell.MARK.encode()
_NUMBERS = re.compile(r"\d+")
_NAMES = re.compile(r"\S*[\d./'\"]\S*")
_NATIVE = re.compile(
    r"Fatal Python error|Segmentation fault|Bus error|terminate called|.* NCCL WARN "
    r"|(?:\[rank\d+\]:)?\[[EF]\d{4} "
)


@contextmanager
def followed(path: Path, logger: logging.Logger) -> Iterator[None]:
    """Log the messages appended to the file `path` from now on, until the end of the context.

    A file that does not exist is made, with its directory, because a child process writes to it later.
    The context ends when everything written by then is logged, so that a child's errors are in the log before
    the exception that reports its end. Records are made in a copy of the caller's context (`contextvars`), so
    that a handler can tell which run they belong to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open("rb") as file:
        file.seek(0, 2)
        ended = threading.Event()
        follow = _Follower(file, path, logger, ended).run
        thread = threading.Thread(target=contextvars.copy_context().run, args=(follow,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class _Follower:
    """Reads a growing file line by line, and logs each message once, up to `_MOST` at each level."""

    def __init__(self, file: IO[bytes], path: Path, logger: logging.Logger, ended: threading.Event) -> None:
        self._file, self._path, self._logger, self._ended = file, path, logger, ended
        self._torn = b""  # a line whose end is not written yet
        self._level = logging.INFO
        self._message: list[str] = []  # the lines of a message that may continue
        self._room = dict(_MOST)
        self._logged: set[str] = set()
        self._more = 0

    def run(self) -> None:
        """Read until `ended` is set, and then the rest."""
        ended = False
        while not ended:
            ended = self._ended.wait(_POLL_S)
            if not self._read_new() and not self._torn.startswith(_MARK):
                self._forward()
        self._read(self._torn)
        self._forward()
        if self._more:
            self._logger.warning("%d more lines like these are in %s", self._more, self._path)

    def _read_new(self) -> bool:
        """Read to the end of the file; return whether there was anything new."""
        found = False
        while chunk := self._file.read(_CHUNK_BYTES):
            found = True
            *lines, self._torn = _BREAKS.split(self._torn + chunk)
            self._torn = self._torn[:_CHUNK_BYTES]  # a line without end must not fill the memory
            for line in lines:
                self._read(line)
        return found

    def _read(self, raw: bytes) -> None:
        line = raw.decode(errors="replace")[:_LONGEST_LINE]
        if self._message and line.startswith(tell.NEXT):
            self._message.append(line.removeprefix(tell.NEXT))
            return
        self._forward()
        if found := tell.FIRST.fullmatch(line):
            origin = f"{found['origin']}: " if found["origin"] else ""
            self._level, self._message = _LEVELS[found["level"]], [origin + found["text"]]
        elif _NATIVE.match(line):
            self._level, self._message = logging.ERROR, [line]

    def _forward(self) -> None:
        if not self._message:
            return
        text, self._message = "\n".join(self._message), []
        # Repeated warnings may differ in names (of a model's weights), repeated errors in numbers.
        key = (_NAMES if self._level == logging.WARNING else _NUMBERS).sub("#", text)
        if key in self._logged:
            return
        if not self._room[self._level]:
            self._more += 1
            return
        self._room[self._level] -= 1
        self._logged.add(key)
        self._logger.log(self._level, "%s", text)

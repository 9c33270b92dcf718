"""What a child process says reaches the log of the run that started it; all of it stays in the child's file.

A child (the vLLM worker, the ranks of a training) writes to a file. While it runs, a thread reads what is
new there and hands on what is for people, as `child_lines` tells it apart, to a logger of the standard
library. Repetitions (of each rank, or with other numbers) and what is too much stay in the file only.
"""

import contextvars
import logging
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from figa_core.processes.log_lines import OWN, LineReader, Message

_POLL_S = 0.25
_CHUNK_BYTES = 1 << 16
_LONGEST_LINE = 2000
# Room for errors is kept: they come last, after whatever came before them.
_MOST = {logging.ERROR: 20, logging.WARNING: 20, logging.INFO: 10}
_BREAKS = re.compile(rb"[\r\n]+")  # a progress bar is many lines
_NUMBERS = re.compile(r"\d+")
_NAMES = re.compile(r"\S*[\d./'\"]\S*")


def tell(text: str) -> None:
    """In a child: say something that belongs in the run's log. One line, few of them."""
    print(OWN + text, flush=True)


@contextmanager
def followed(path: Path, logger: logging.Logger) -> Iterator[None]:
    """Hand on what is appended to the file `path` from now on, until the end of the context.

    The context ends when everything written until then has been handed on, so that a child's errors are
    in the log before the exception that reports its end. Records are made in a copy of the caller's context
    (`contextvars`), by which a handler can tell whose they are.
    """
    with path.open("rb") as file:
        file.seek(0, 2)
        ended = threading.Event()
        follow = _Follower(file, _Forwarder(logger, path), ended).run
        thread = threading.Thread(target=contextvars.copy_context().run, args=(follow,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class _Follower:
    """Reads a growing file by lines."""

    def __init__(self, file: IO[bytes], forwarder: "_Forwarder", ended: threading.Event) -> None:
        self._file, self._forwarder, self._ended = file, forwarder, ended
        self._reader = LineReader()
        self._torn = b""  # a line whose end is not written yet

    def run(self) -> None:
        """Read until `ended` is set, and then what has been written by that time."""
        ended = False
        while not ended:
            ended = self._ended.wait(_POLL_S)
            if not self._read_on():
                self._forwarder.hand_on(self._reader.pause())
        self._read_line(self._torn)
        self._forwarder.hand_on(self._reader.end())
        self._forwarder.close()

    def _read_on(self) -> bool:
        """Whether there was anything new."""
        found = False
        while chunk := self._file.read(_CHUNK_BYTES):
            found = True
            *lines, self._torn = _BREAKS.split(self._torn + chunk)
            self._torn = self._torn[:_CHUNK_BYTES]  # a line without end must not fill the memory
            for line in lines:
                self._read_line(line)
        return found

    def _read_line(self, line: bytes) -> None:
        self._forwarder.hand_on(self._reader.read(line.decode(errors="replace")[:_LONGEST_LINE]))


class _Forwarder:
    """Logs messages: none twice, and of each level no more than `_MOST`."""

    def __init__(self, logger: logging.Logger, path: Path) -> None:
        self._logger, self._path = logger, path
        self._room = dict(_MOST)
        self._told: set[str] = set()
        self._more = 0

    def hand_on(self, messages: Iterable[Message]) -> None:
        for message in messages:
            what = _sameness(message)
            if what in self._told:
                continue
            if not self._room[message.level]:
                self._more += 1
                continue
            self._room[message.level] -= 1
            self._told.add(what)
            origin = f"{message.origin}: " if message.origin else ""
            self._logger.log(message.level, "%s%s", origin, message.text)

    def close(self) -> None:
        if self._more:
            self._logger.warning("%d more lines like these are in %s", self._more, self._path)


def _sameness(message: Message) -> str:
    """What is equal in two messages that tell a person the same.

    Warnings may differ in the names they are about, one for each weight of a model; errors only in numbers.
    """
    if message.level == logging.WARNING:
        return _NAMES.sub("#", message.text)
    return _NUMBERS.sub("#", message.text)

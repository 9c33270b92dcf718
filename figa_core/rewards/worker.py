"""One process that rates rows with a user's program, from outside: its limits, and what its end means.

A row that hangs, takes too much memory or ends the process costs this process; the next row gets a new one.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from figa_core.errors import EngineError
from figa_core.ports import RewardRequest
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment

_WORKER = "figa_core.rewards.program_worker"
_START_S = 120.0  # for the import of the program's module, such as one that imports torch
_LOOK_S = 0.25  # between two looks at the memory of a row that takes its time
_PROCESSES_MAX = 64
_LINE_MAX = 2**20
_PIECE = 2**16


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """A "module:function", what it gets of a row, and the limits of one row."""

    function: str
    fields: tuple[str, ...] = ()
    time_limit_s: float = 10.0
    memory_limit_mib: int = 2048


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that runs a program, and where it finds modules."""

    python: str
    path: tuple[str, ...]

    @classmethod
    def here(cls) -> "Interpreter":
        """That of this process."""
        return cls(sys.executable, tuple(sys.path))


class RowError(Exception):
    """Why a row has no value; `ended`: the process ended by itself."""

    def __init__(self, reason: str, *, ended: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.ended = reason, ended


class ProgramWorker:
    """A context manager around the process.

    with ProgramWorker(settings, log) as worker:
        worker.rate(request)  # a number, or RowError
    """

    def __init__(self, settings: ProgramSettings, log: Path, interpreter: Interpreter | None = None) -> None:
        """`interpreter`: that of this process if there is none."""
        self._settings, self._log = settings, log
        self._interpreter = interpreter or Interpreter.here()
        self._child: Child | None = None
        self._buffer = b""
        self.rated = 0  # rows of this process
        self.is_there = False

    def __enter__(self) -> "ProgramWorker":
        """Start it and import the program.

        Raises:
            EngineError: the program cannot be imported or called.
        """
        ours, theirs = socket.socketpair()
        self._socket = ours
        try:
            with theirs:
                self._child = Child(
                    [self._interpreter.python, "-m", _WORKER, str(theirs.fileno())],
                    self._log,
                    environment=child_environment() | _one_thread_unless_said(),
                    pass_fds=[theirs.fileno()],
                )
            self._import()
        except BaseException:
            self.end()
            raise
        self.is_there = True
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def rate(self, request: RewardRequest) -> float:
        """The program's value of a row.

        Raises:
            RowError: there is none.
        """
        number = self.rated
        messages = [message.as_dict() for message in request.messages]
        fields = {name: request.fields.get(name) for name in self._settings.fields}
        row = {"row": number, "messages": messages, "text": request.text, "fields": fields}
        answer = self._ask(row, self._settings.time_limit_s, "the program")
        self.rated += 1
        if answer.get("row") != number:
            raise self._lost("the program wrote over its answers")
        if "reason" in answer:
            raise RowError(answer["reason"])
        return answer["value"]

    def end(self) -> None:
        """End the process and all that it has started; another thread may do it, too."""
        self.is_there = False
        child = self._child
        if child is not None:
            others = _descendants(child.pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            for process in others:  # those that left the group
                with contextlib.suppress(psutil.Error):
                    process.kill()
            child.kill()
        self._socket.close()

    def _import(self) -> None:
        settings = self._settings
        order = {
            "function": settings.function,
            "fields": list(settings.fields),
            "path": self._interpreter.path,
            "memory_bytes": settings.memory_limit_mib * 2**20,
        }
        try:
            problem = self._ask(order, _START_S, "the import of its module").get("problem")
        except RowError as error:
            problem = error.reason
        if problem is not None:
            raise EngineError(
                f"the reward program {settings.function!r}: {problem}. Correct it; its module must be "
                "installed here, or its folder must be in PYTHONPATH. What it prints, and the last words of "
                f"a crash, are in {self._log}."
            )

    def _ask(self, order: Mapping[str, Any], seconds: float, what: str) -> dict[str, Any]:
        try:
            answer = json.loads(self._exchange(json.dumps(order).encode() + b"\n", seconds, what))
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._lost("the program wrote over its answers")
        return answer

    def _exchange(self, line: bytes, seconds: float, what: str) -> bytes:
        deadline = time.monotonic() + seconds
        left = _ticks(deadline)
        while line or b"\n" not in self._buffer:
            wait_s = next(left, None)
            if wait_s is None:
                raise self._lost(f"{what} took more than {seconds:g} s")
            self._socket.settimeout(wait_s)
            try:
                line = self._send(line) if line else self._receive(line)
            except TimeoutError:
                self._look(what)
        answer, _, self._buffer = self._buffer.partition(b"\n")
        return answer

    def _send(self, line: bytes) -> bytes:
        """The rest of the line."""
        try:
            return line[self._socket.send(line[:_PIECE]) :]
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise self._lost(self._end_of_process(), ended=True) from None

    def _receive(self, line: bytes) -> bytes:
        try:
            piece = self._socket.recv(_PIECE)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            piece = b""
        if not piece:
            raise self._lost(self._end_of_process(), ended=True)
        self._buffer += piece
        if len(self._buffer) > _LINE_MAX:
            raise self._lost("the program wrote over its answers")
        return line

    def _look(self, what: str) -> None:
        """At a row that takes its time: its memory, with that of all that it has started."""
        assert self._child is not None
        limit, others = self._settings.memory_limit_mib, _descendants(self._child.pid)
        if len(others) > _PROCESSES_MAX:
            raise self._lost(f"{what} started more than {_PROCESSES_MAX} processes")
        used = 0
        with contextlib.suppress(psutil.Error):
            used += psutil.Process(self._child.pid).memory_info().rss
        for process in others:
            with contextlib.suppress(psutil.Error):
                used += process.memory_full_info().uss  # what it shares with its parent counts once
        if used > limit * 2**20:
            raise self._lost(f"{what} took more than {limit:,} MiB of memory")

    def _lost(self, reason: str, *, ended: bool = False) -> RowError:
        """The process is of no more use."""
        self.end()
        return RowError(reason, ended=ended)

    def _end_of_process(self) -> str:
        assert self._child is not None
        self._child.wait_until(lambda: False, timeout_s=1.0)
        code = self._child.exit_code
        if code is None:
            return "the program closed its connection"
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return f"the program ended its process ({how})"


def _ticks(deadline: float) -> Iterator[float]:
    """How long to wait until the next look, until the deadline."""
    while (left := deadline - time.monotonic()) > 0:
        yield min(left, _LOOK_S)


def _one_thread_unless_said() -> dict[str, str]:
    """Rows are rated at once in several processes, which would share the cores."""
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []

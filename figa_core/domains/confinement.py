"""Runs a function of foreign code in a confined process (`confined.py`): on limited time and memory, alone.

The code cannot decide what is checked: arguments go to its process, results come back as plain data, and they
are compared here. A process that ends early, whatever its exit code, has simply not answered.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from figa_core.domains.confined import decode, encode
from figa_core.errors import FigaError

_PROGRAM = Path(__file__).with_name("confined.py")
_ANSWER_BYTES_MAX = 2**18
_SOURCE_MAX = 20_000  # characters; so an order fits into the pipe


class CodeError(FigaError):
    """The code did not answer: it raised, ended, hung, or wrote something else than a result."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process: `seconds` by the clock from its start to its last answer, and `memory_mib`."""

    seconds: float = 4.0
    memory_mib: int = 512


class Confined:
    """A function of foreign code, to be called like one of ours.

    with Confined("def f(x): return x + 1", "f") as function:
        function(1)  # 2, or CodeError
    """

    def __init__(self, source: str, function: str, limits: Limits = Limits()) -> None:
        if len(source) > _SOURCE_MAX:
            raise CodeError(f"the code is longer than {_SOURCE_MAX} characters")
        self._order = {"source": source, "function": function, "seconds": limits.seconds}
        self._order["memory_bytes"] = limits.memory_mib * 2**20
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._failed: CodeError | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "use it in a `with` block"
        return self._process.pid

    def __enter__(self) -> Self:
        """Start the process and run the code.

        Raises:
            CodeError: it has no such function, or did not end well.
        """
        self._deadline = time.monotonic() + self._limits.seconds
        self._directory = tempfile.TemporaryDirectory(prefix="figa-code-")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._directory.name,
            env={},
            start_new_session=True,
        )
        try:
            if self._ask(self._order) != b"ready":
                raise CodeError("the code wrote over the results")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __call__(self, *arguments: object, **names: object) -> object:
        """The function's result, or CodeError; after a failure every call fails at once."""
        try:
            return decode(json.loads(self._ask(encode((arguments, names)))))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CodeError("the code wrote over the results") from error

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process is not None, "use it in a `with` block"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in self._pipes():
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        process.wait()
        self._directory.cleanup()

    def _ask(self, order: object) -> bytes:
        """The line that answers this one."""
        if self._failed is not None:
            raise self._failed
        try:
            return self._exchange(json.dumps(order).encode() + b"\n")
        except CodeError as failed:
            self._failed = failed
            raise

    def _exchange(self, line: bytes) -> bytes:
        orders, results = self._pipes()
        try:
            orders.write(line)
            orders.flush()
        except BrokenPipeError:
            raise CodeError("the code ended its process") from None
        pipe = results.fileno()
        while b"\n" not in self._buffer:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise CodeError(f"the code took more than {self._limits.seconds:g} s")
            piece = os.read(pipe, 2**16)
            if not piece:
                raise CodeError("the code raised an error or ended its process")
            self._buffer += piece
            if len(self._buffer) > _ANSWER_BYTES_MAX:
                raise CodeError(f"the result is larger than {_ANSWER_BYTES_MAX} bytes")
        answer, _, self._buffer = self._buffer.partition(b"\n")
        return answer

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """Where orders go, and where results come from."""
        assert self._process is not None, "use it in a `with` block"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

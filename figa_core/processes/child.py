"""Starts, follows and stops child processes.

A child appends its output to a log, has its own session (a terminal's Ctrl-C is for the run, which decides
about its children) and calls `children.die_with_parent`.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from figa_core.files import last_lines
from figa_core.processes import interruption
from figa_core.processes.children import child_environment


class Child:
    """A child process; `log` is the file that it writes to."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        takes_input: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it; `takes_input` allows `send`. Raises OSError if it or the log cannot be opened.

        `pass_fds`: file descriptors that it inherits.
        """

        def start() -> subprocess.Popen[bytes]:
            with log.open("ab") as file:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE if takes_input else subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=child_environment() if environment is None else environment,
                    start_new_session=True,
                    pass_fds=pass_fds,
                )

        self.log = log
        self._process = _in_a_lasting_thread(start)
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:  # None while it runs
        return self._process.poll()

    def wait_until(
        self, is_done: Callable[[], bool], *, timeout_s: float = float("inf"), poll_s: float = 0.05
    ) -> bool:
        """Whether `is_done` before the process ended and before the timeout.

        Raises InterruptedRunError if this process was asked to stop.
        """
        deadline = time.monotonic() + timeout_s
        while not is_done():
            if self.exit_code is not None:
                return is_done()  # possibly the last thing it did
            if time.monotonic() > deadline:
                return False
            interruption.check()
            interruption.sleep(poll_s)
        return True

    def finish(self) -> int:
        """Wait until it ends, and return its exit code; it is killed if this process is asked to stop.

        Raises InterruptedRunError then.
        """
        try:
            self.wait_until(lambda: False)
        finally:
            self.kill()
        assert self.exit_code is not None
        return self.exit_code

    def log_tail(self, lines: int = 8) -> str:
        """The end of its log, for an error message."""
        return last_lines(self.log, lines)

    def send(self, line: bytes) -> None:
        """Write to its standard input. If it has ended, nothing happens: `wait_until` will notice."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def stop(self, wait_s: float = 5.0) -> None:
        """Ask it to end, and kill it if it does not in time."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        self.kill()

    def kill(self) -> None:
        """End it at once; nothing happens if it has ended."""
        _end(self._process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _in_a_lasting_thread(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Call `start` in a new thread, which then waits for the process.

    On Linux a child dies with the *thread* that started it, and the caller's may end long before the child.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def own() -> None:
        try:
            process = start()
        except Exception as error:
            started.set_exception(error)
        else:
            started.set_result(process)
            process.wait()

    owner = threading.Thread(target=own, name="child-owner", daemon=True)
    try:
        owner.start()
        return started.result()
    except BaseException:  # a signal: nobody else knows the child yet
        if owner.ident is not None and started.exception() is None:
            _end(started.result())
        raise

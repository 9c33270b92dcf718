"""Starting, following and stopping a child process: one way for all of them.

The child appends what it prints to a log, has a session of its own (a terminal's Ctrl-C is for the run, which
decides what becomes of its children) and calls `children.die_with_parent`.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from figa_core.files import last_lines
from figa_core.processes import interruption
from figa_core.processes.children import child_environment

STOP_WAIT_S = 5.0
_POLL_S = 0.05


class Child:
    """A running child process. It lives until it ends, is stopped, or this process ends.

    Attributes:
        pid: its process id.
        log: the file that it writes to.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        takes_input: bool = False,
    ) -> None:
        """Start it. `environment` is by default that of `child_environment`; `takes_input` allows `send`.

        Raises:
            OSError: it cannot be started, or the log not written.
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
                )

        self.log = log
        self._process = _in_a_thread_that_stays(start)
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait_until(
        self, is_done: Callable[[], bool], *, timeout_s: float = float("inf"), poll_s: float = _POLL_S
    ) -> bool:
        """Whether `is_done` before the process ended and before the time was up.

        Raises:
            InterruptedRunError: somebody asked to stop.
        """
        deadline = time.monotonic() + timeout_s
        while not is_done():
            if self.exit_code is not None:
                return is_done()  # it may have been the last thing it did
            if time.monotonic() > deadline:
                return False
            interruption.check()
            interruption.sleep(poll_s)
        return True

    def log_tail(self, lines: int = 8) -> str:
        """The end of its log, for an error message."""
        return last_lines(self.log, lines)

    def send(self, line: bytes) -> None:
        """Write to its standard input. If it has ended, nothing happens: `wait_until` finds out."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def stop(self, wait_s: float = STOP_WAIT_S) -> None:
        """Ask it to end, and kill it if it does not in time."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        self.kill()

    def kill(self) -> None:
        """End it at once; nothing happens if it has ended."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def _in_a_thread_that_stays(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Call `start` in a thread of its own, which waits for the process.

    On Linux a child dies with the *thread* that started it, and the caller's may end long before the child.
    """
    outcome: list[subprocess.Popen[bytes] | Exception] = []
    started = threading.Event()

    def own() -> None:
        try:
            process = start()
        except Exception as error:
            outcome.append(error)
            return
        else:
            outcome.append(process)
        finally:
            started.set()
        process.wait()

    owner = threading.Thread(target=own, name="child-owner", daemon=True)
    try:
        owner.start()
        started.wait()
    except BaseException:  # a signal: nobody else knows of the child yet
        if owner.ident is not None:
            started.wait()
            if isinstance(outcome[0], subprocess.Popen):
                outcome[0].kill()
        raise
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]

"""How a training is asked to stop: by a file in its directory, or by a signal to its ranks.

The run that started it creates the file, which reaches ranks on any machine. A cluster's scheduler sends the
signal. Between two steps the ranks check both, agree, write a checkpoint and end (`loop.train`).
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from types import FrameType

_NAME = "stop"
# A scheduler may signal a process twice at once: directly, and through its parent.
_SAME_REQUEST_S = 1.0


def ask(output: Path, reason: str = "") -> None:
    """Ask the ranks of the training in this directory to stop; the first reason given is kept."""
    with (output / _NAME).open("a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(reason)


def reason(output: Path) -> str:
    """Why they were asked to; "" if nobody said or asked."""
    try:
        return (output / _NAME).read_text(encoding="utf-8")
    except OSError:
        return ""


def forget(output: Path) -> None:
    """Withdraw a request to an earlier attempt."""
    (output / _NAME).unlink(missing_ok=True)


class StopRequest:
    """Whether one rank knows of a request; creating it handles the next SIGINT and SIGTERM.

    It handles them even if they were ignored: the processes of a shell's background job inherit an ignored
    SIGINT. A second one, a second later or more, ends the process at once.
    """

    def __init__(
        self, output: Path, *, numbers: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    ) -> None:
        self._file = output / _NAME
        self._signalled_at: float | None = None
        for number in numbers:
            signal.signal(number, self._on_signal)

    def __call__(self) -> bool:
        """Whether this rank knows of a request; the others may not know yet."""
        return self._signalled_at is not None or self._file.exists()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signalled_at is None:
            self._signalled_at = now
            self._signalled()
        elif now - self._signalled_at > _SAME_REQUEST_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _signalled(self) -> None:
        """What else the first signal does."""


class PassedOnStop(StopRequest):
    """In the launcher of the ranks: its SIGTERM asks them to stop, so that they write a checkpoint.

    torchrun would end them with a signal of its own, which they would take for a second one if a scheduler
    had signalled every process of the job.
    """

    def __init__(self, output: Path) -> None:
        super().__init__(output, numbers=(signal.SIGTERM,))

    def _signalled(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the ranks may have the signal themselves
            self._file.touch()

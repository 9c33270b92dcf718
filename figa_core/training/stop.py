"""How a training is asked to stop: by a file in its directory, or by a signal to its ranks.

The run that started it creates the file, which reaches ranks on any machine. A cluster's scheduler sends the
signal. Between two steps the ranks check both, agree, write a checkpoint and end (`loop.train`).
"""

import signal
from pathlib import Path
from types import FrameType

_NAME = "stop"


def ask(output: Path) -> None:
    """Ask the ranks of the training in this directory to stop."""
    (output / _NAME).touch()


def forget(output: Path) -> None:
    """Withdraw a request to an earlier attempt."""
    (output / _NAME).unlink(missing_ok=True)


class StopRequest:
    """Whether one rank knows of a request; creating it handles the next SIGINT and SIGTERM.

    It handles them even if they were ignored: the processes of a shell's background job inherit an ignored
    SIGINT.
    """

    def __init__(self, output: Path) -> None:
        self._file = output / _NAME
        self._signalled = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def __call__(self) -> bool:
        """Whether this rank knows of a request; the others may not know yet."""
        return self._signalled or self._file.exists()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signalled = True
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the rank at once

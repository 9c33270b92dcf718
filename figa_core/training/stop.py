"""How a training is asked to stop: by a file in its directory, or by a signal to its ranks.

The one who started it leaves the file, which reaches ranks on any machine; a cluster's scheduler sends the
signal. The ranks look between two steps, agree, write a checkpoint and end (`loop.train`).
"""

import signal
from pathlib import Path
from types import FrameType

_NAME = "stop"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def ask(output: Path) -> None:
    """Ask the ranks of the training in this directory to stop."""
    (output / _NAME).touch()


def forget(output: Path) -> None:
    """Take back what was asked of an earlier attempt."""
    (output / _NAME).unlink(missing_ok=True)


class StopWish:
    """One rank's knowledge of the wish; creating it takes over SIGINT and SIGTERM, once each.

    They are set whatever they were: a process of a shell's background job inherits an ignored SIGINT.
    """

    def __init__(self, output: Path) -> None:
        self._file = output / _NAME
        self._signalled = False
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def __call__(self) -> bool:
        """Whether this rank knows of it; the others may not, yet."""
        return self._signalled or self._file.exists()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signalled = True
        signal.signal(number, signal.SIG_DFL)  # who asks twice means at once

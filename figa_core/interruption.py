"""Somebody asked this process to stop: one flag for the whole process, which everything long-winded looks at.

A signal's handler, or whoever learns of the wish, calls `request`. Loops call `check` between two pieces of
work, waits use `sleep`, and what has to end something first (a training writes a checkpoint) looks at
`requested`. The flag is set once and stays: what is asked to stop does not begin anything else.
"""

import time

from figa_core.errors import InterruptedRunError

_POLL_S = 0.1
# No threading.Event: set by a signal's handler while the same thread is inside its `wait`, it would lock up.
_asked = False


def request() -> None:
    """Ask everything in this process to stop. Safe in a signal's handler and in any thread."""
    global _asked
    _asked = True


def requested() -> bool:
    """Whether somebody asked."""
    return _asked


def check() -> None:
    """Return at once while nobody has asked.

    Raises:
        InterruptedRunError: somebody has.
    """
    if _asked:
        raise InterruptedRunError("stopped on request. What was done is stored: the same command goes on.")


def sleep(seconds: float) -> None:
    """Wait so long, or until somebody asks to stop; returns either way."""
    deadline = time.monotonic() + seconds
    while not _asked and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _POLL_S))


def clear() -> None:
    """Forget the wish: for the start of another run in the same process, and for tests."""
    global _asked
    _asked = False

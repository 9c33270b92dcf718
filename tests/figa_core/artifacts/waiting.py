"""Waits for what another thread does."""

import threading
from collections.abc import Callable

_POLL_S = 0.01


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Return when it holds; fails after the timeout."""
    waited = threading.Event()
    for _ in range(int(timeout_s / _POLL_S)):
        if condition():
            return
        waited.wait(_POLL_S)
    raise AssertionError("in vain")

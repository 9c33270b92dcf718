"""Lets a signal end a call into C at once, such as a DuckDB statement.

Python runs a signal's handler in the main thread between two bytecodes, so not while that thread waits in C
code. But the interpreter writes the signal's number to a file descriptor as soon as it arrives
(`signal.set_wakeup_fd`). A thread reads it there and ends the call; the handler runs when the call returns.

An event loop with signal handlers uses the same descriptor, but cannot run while the main thread is in
`interruptible`. So the descriptor is borrowed: signals are forwarded, and it is given back at the end.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from figa_core.processes import interruption


@contextmanager
def interruptible(end: Callable[[], None]) -> Iterator[None]:
    """Let the first signal call `end` in another thread; the second ends the process.

    `end` must be thread-safe and make the call into C return. It is not called inside
    `interruption.cooperating`, nor for signals that `interruption` does not handle. This changes nothing
    outside the main thread, because a signal stops no other.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _watch().over(end):
        yield


@cache
def _watch() -> "_Watch":
    return _Watch()


class _Watch:
    """The thread, its end of the descriptor, and what it may end."""

    def __init__(self) -> None:
        self._written, self._read = socket.socketpair()
        self._written.setblocking(False)
        self._lock = threading.Lock()
        self._ends: tuple[Callable[[], None], ...] = ()
        self._borrowed_from = -1
        self._first_at: float | None = None
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    @contextmanager
    def over(self, end: Callable[[], None]) -> Iterator[None]:
        outer = self._ends
        if not outer:
            self._first_at = None
        self._ends = (*outer, end)
        descriptor = self._written.fileno()
        before = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        if before != descriptor:
            self._borrowed_from = before
        try:
            yield
        finally:
            with self._lock:  # do not end what is already closed
                self._ends = outer
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)

    def _listen(self) -> None:
        while numbers := self._read.recv(256):
            if self._borrowed_from != -1:
                with contextlib.suppress(OSError):  # its owner is gone
                    os.write(self._borrowed_from, numbers)
            for number in numbers:
                if signal.getsignal(number) is interruption.on_signal:
                    self._heard(number)

    def _heard(self, number: int) -> None:
        with self._lock:
            if not self._ends:
                return
            if interruption.is_another(self._first_at):
                interruption.end_at_once(number)
            self._first_at = self._first_at or time.monotonic()
            if not interruption.is_cooperating():
                for end in self._ends:
                    with contextlib.suppress(Exception):  # it has ended by itself
                        end()

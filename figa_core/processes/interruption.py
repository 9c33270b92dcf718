"""Requests to stop this process: Ctrl-C, SIGTERM, a closed terminal, or a call of `request`.

The request is a flag that stays set. Loops call `check` between two pieces of work and waits use `sleep`;
code that must finish something first (a training writes a checkpoint) polls `requested` in `cooperating`.

The process's entry point installs `on_signal` with `listening`. The first signal prints what is being
stopped, and then

- only sets the flag, inside `cooperating`;
- cancels the task that entered `cancellable`, while its event loop waits or runs another task, so that its
  `finally` blocks may await running calls;
- raises `InterruptedRunError` in the main thread, otherwise.

`finishing` delays this to the end of its block; for waits in C code see `interruptible.py`. The second signal
ends the process, and its children with it (`children.py`).
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from figa_core.errors import InterruptedRunError, signal_name

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.05
# Programs such as `timeout` send a signal to their child and then to its group: one request arrives twice.
_SAME_REQUEST_S = 0.5


class _State:
    # No locks: the code that a handler interrupts might hold one.
    def __init__(self) -> None:
        self.number: int | None = None
        self.asked_at = 0.0
        self.cooperating = 0
        self.task: asyncio.Task[Any] | None = None
        self.doing: list[str] = []
        self.raised: Callable[[int], BaseException] = InterruptedRunError
        self.listening = False
        self.ended = False


_state = _State()


def request(number: int = signal.SIGINT) -> None:
    """Set the flag. Safe in signal handlers and in any thread."""
    if _state.number is None:
        _state.asked_at = time.monotonic()
        _state.number = number


def requested() -> bool:
    return _state.number is not None


def check() -> None:
    """Raise InterruptedRunError if this process was asked to stop."""
    if _state.number is not None:
        raise _state.raised(_state.number)


def sleep(seconds: float) -> None:
    """Wait this long, or until a request to stop."""
    deadline = time.monotonic() + seconds
    while _state.number is None and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _POLL_S))


def clear() -> None:
    """Forget the request, for another run in the same process and for tests."""
    _state.number = None


@contextmanager
def doing(what: str) -> Iterator[None]:
    """What the first signal prints, such as "train FIGA: a checkpoint is written first"."""
    _state.doing.append(what)
    try:
        yield
    finally:
        _state.doing.pop()


@contextmanager
def cooperating() -> Iterator[None]:
    """Inside it a signal only sets the flag. The code polls `requested` several times a second, and calls
    `check` when it is ready.
    """
    _state.cooperating += 1
    try:
        yield
    finally:
        _state.cooperating -= 1


@contextmanager
def finishing() -> Iterator[None]:
    """Delay signals, which reach only the main thread, to the end of a short block that stores data whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _state.number
    with cooperating():
        yield
    if before is None and _state.number is not None and not _state.cooperating:
        _stop(_state.number)


def is_cooperating() -> bool:
    """Whether a signal would only set the flag now."""
    return _state.cooperating > 0


def is_another(first_at: float | None) -> bool:
    """Whether a signal now is a second request. `first_at`: when one came that no handler saw."""
    first_at = first_at if _state.number is None else _state.asked_at
    return first_at is not None and time.monotonic() - first_at > _SAME_REQUEST_S


def end_at_once(number: int) -> None:
    """End the process, as the second signal does; safe in any thread."""
    if _state.ended:
        time.sleep(0.5)  # another thread prints the line and ends the process
    else:
        _state.ended = True
        _print(f"ended at once by {signal_name(number)}")
    os._exit(128 + number)


@contextmanager
def cancellable() -> Iterator[None]:
    """Make the running task the one that a signal cancels; without an event loop, change nothing.

    SIGTERM is handled by `on_signal` again if another handler replaced it since `listening` (Prefect does
    that in every flow).
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    outer, _state.task = _state.task, task or _state.task
    theirs = signal.getsignal(signal.SIGTERM)
    take_back = _state.listening and theirs is not on_signal
    if take_back:
        signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        _state.task = outer
        if take_back:
            signal.signal(signal.SIGTERM, theirs)


@contextmanager
def listening() -> Iterator[None]:
    """Install `on_signal` for a command, in the main thread; elsewhere change nothing.

    A signal that was ignored at the start stays ignored: shells start background jobs that way, and `nohup`
    uses it. SIGINT is the exception without a terminal, where nobody presses Ctrl-C by accident.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN or (number == signal.SIGINT and not _has_terminal()):
            signal.signal(number, on_signal)
    _state.listening = True
    try:
        yield
    finally:
        _state.listening = False
        clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_as(make: Callable[[int], BaseException]) -> None:
    """Let `on_signal` and `check` raise another kind of `InterruptedRunError`."""
    _state.raised = make


def on_signal(number: int, _frame: FrameType | None = None) -> None:
    if _state.number is not None:
        if is_another(None):
            end_at_once(number)
        return
    request(number)
    what = _state.doing[-1] if _state.doing else "what is done is stored"
    _print(f"stopping: {what} ({signal_name(number)} again ends at once)")
    if not _state.cooperating:
        _stop(number)


def _stop(number: int) -> None:
    task = _state.task
    if task is not None and not task.done() and asyncio.current_task(task.get_loop()) is not task:
        task.cancel()
        task.get_loop().call_soon_threadsafe(lambda: None)  # it may be waiting
        return
    raise _state.raised(number)


def _print(line: str) -> None:
    """Unbuffered: the interrupted code may hold the stream's lock. A progress bar is cleared first."""
    with suppress(OSError):  # nobody reads
        start = "\r\x1b[2K" if os.isatty(2) else ""
        os.write(2, f"{start}{line}\n".encode("ascii", "replace"))


def _has_terminal() -> bool:
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        return True
    return False

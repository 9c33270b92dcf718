"""Somebody asks this process to stop: Ctrl-C, SIGTERM, a closed terminal, or a call of `request`.

The wish is one flag, which is set once and stays. Loops call `check` between two pieces of work, waits use
`sleep`, and what must end something first (a training writes a checkpoint) polls `requested` inside
`cooperating`.

Whoever owns the process installs `on_signal` by `listening`. The first signal says at once what is being
stopped, and then

- sets the flag alone, inside `cooperating`;
- cancels the task that entered `cancellable`, while its event loop waits or runs another task: its `finally`
  blocks may await what is under way;
- raises `InterruptedRunError` where the main thread is, in all other cases.

Inside `finishing` it does so at the block's end. A main thread that waits in C code sees no signal:
`interruptible.py`. The second signal ends the process; its children end with it (`children.py`).
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from figa_core.errors import InterruptedRunError, signal_name

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.05
# Programs such as `timeout` send a signal to their child and then to its group: one request arrives twice.
_SAME_WISH_S = 0.5
_SAYING_S = 0.5


class _State:
    """What a handler may touch: plain attributes only, because a lock may be held by whom it interrupts."""

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
    """Set the flag. Safe in a signal's handler and in any thread."""
    if _state.number is None:
        _state.asked_at = time.monotonic()
        _state.number = number


def requested() -> bool:
    """Whether somebody asked this process to stop."""
    return _state.number is not None


def check() -> None:
    """Return at once while nobody has asked.

    Raises:
        InterruptedRunError: somebody has.
    """
    if _state.number is not None:
        raise _state.raised(_state.number)


def sleep(seconds: float) -> None:
    """Wait this long, or until somebody asks to stop; returns either way."""
    deadline = time.monotonic() + seconds
    while _state.number is None and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _POLL_S))


def clear() -> None:
    """Forget the request: for another run in the same process, and for tests."""
    _state.number = None


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Name what is running, and what stopping it means; printed when somebody asks to stop.

    Such as "train FIGA: a checkpoint is written first".
    """
    _state.doing.append(what)
    try:
        yield
    finally:
        _state.doing.pop()


@contextmanager
def cooperating() -> Iterator[None]:
    """In here a signal only sets the flag: the code polls `requested`, and calls `check` when it is ready.

    It must look several times a second.
    """
    _state.cooperating += 1
    try:
        yield
    finally:
        _state.cooperating -= 1


@contextmanager
def finishing() -> Iterator[None]:
    """In here a signal waits for the end of the block, and then does what it does elsewhere.

    For what must be stored whole, and is short. It changes nothing in other threads than the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _state.number
    with cooperating():
        yield
    if before is None and _state.number is not None and not _state.cooperating:
        _stop(_state.number)


def is_cooperating() -> bool:
    """Whether a signal only sets the flag at this moment."""
    return _state.cooperating > 0


def is_another(first_at: float | None) -> bool:
    """Whether a signal of this moment is a second wish. `first_at`: when one came that no handler saw."""
    first_at = first_at if _state.number is None else _state.asked_at
    return first_at is not None and time.monotonic() - first_at > _SAME_WISH_S


def end_at_once(number: int) -> None:
    """End the process, as the second signal does; safe in any thread."""
    if _state.ended:
        time.sleep(_SAYING_S)  # another thread is saying so, and ends the process
    else:
        _state.ended = True
        _say(f"ended at once by {signal_name(number)}")
    os._exit(128 + number)


@contextmanager
def cancellable() -> Iterator[None]:
    """Make the running task the one that a signal cancels; without an event loop, change nothing.

    SIGTERM is taken back from whoever took it since `listening` (Prefect does, in every flow).
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    outer, _state.task = _state.task, task or _state.task
    taken = signal.getsignal(signal.SIGTERM)
    take_back = _state.listening and taken is not on_signal
    if take_back:
        signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        _state.task = outer
        if take_back:
            signal.signal(signal.SIGTERM, taken)


@contextmanager
def listening() -> Iterator[None]:
    """Install `on_signal` for a command, in the main thread; elsewhere change nothing.

    A signal that was ignored at the start stays ignored: so shells start background jobs, and `nohup` what
    is to survive its terminal. Without a terminal nobody presses Ctrl-C by accident, and SIGINT is meant.
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
    """Let `on_signal` and `check` raise what the process's owner knows, a kind of `InterruptedRunError`."""
    _state.raised = make


def on_signal(number: int, _frame: FrameType | None = None) -> None:
    """The handler; see the module's docstring."""
    if _state.number is not None:
        if is_another(None):
            end_at_once(number)
        return
    request(number)
    what = _state.doing[-1] if _state.doing else "what is done is stored"
    _say(f"stopping: {what} ({signal_name(number)} again ends at once)")
    if not _state.cooperating:
        _stop(number)


def _stop(number: int) -> None:
    task = _state.task
    if task is not None and not task.done() and asyncio.current_task(task.get_loop()) is not task:
        task.cancel()
        task.get_loop().call_soon_threadsafe(lambda: None)  # it may be waiting
        return
    raise _state.raised(number)


def _say(line: str) -> None:
    """Unbuffered: what is interrupted may hold the stream's lock. A bar in a terminal is cleared first."""
    try:
        start = "\r\x1b[2K" if os.isatty(2) else ""
        os.write(2, f"{start}{line}\n".encode("ascii", "replace"))
    except OSError:
        pass  # nobody listens


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True

"""Lets one machine at a time work on something in a store; the others wait for its result.

A claim is a small file whose content changes while its holder lives. One without a change for two minutes is
taken over. Clocks of machines differ, so changes count, and no times.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError
from figa_core.processes import interruption

BEAT_S = 10.0
LOST_AFTER_S = 120.0
_LOOK_EVERY_S = 2.0
_PROCESS = "process {} on {}"


@contextmanager
def claimed(
    store: Store,
    name: str,
    tell: Callable[[str], None] = lambda _: None,
    *,
    lost_after_s: float = LOST_AFTER_S,
    beat_s: float = BEAT_S,
) -> Iterator[None]:
    """Hold the claim `name`; while another process holds it, wait. `tell` gets a line about that.

    Raises:
        ArtifactsError: the store fails.
        InterruptedRunError: this process was asked to stop.
    """
    me = _PROCESS.format(os.getpid(), socket.gethostname())
    _take(store, name, me, tell, lost_after_s)
    stopped = threading.Event()

    def beat() -> None:
        count = 0
        while not stopped.wait(beat_s):
            count += 1
            try:
                store.write(name, f"{me}, {count}".encode())
            except ArtifactsError:
                continue  # the work itself will say so

    thread = threading.Thread(target=beat, name=f"claim of {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        try:
            store.remove([name])
        except ArtifactsError as error:
            tell(f"warning: {error}")


def _take(store: Store, name: str, me: str, tell: Callable[[str], None], lost_after_s: float) -> None:
    content: bytes | None = None
    changed_at, told = time.monotonic(), False
    while not store.create(name, f"{me}, 0".encode()):
        found = store.read(name)
        if found != content:
            content, changed_at = found, time.monotonic()
        if found is not None and (_is_dead(found) or time.monotonic() - changed_at > lost_after_s):
            tell(f"{_holder(found)} shows no sign of life: its work is taken over")
            store.remove([name])
            continue
        if found is not None and not told:
            told = True
            tell(f"waits for {_holder(found)}, which is at the same work, or was until it ended")
        interruption.check()
        interruption.sleep(min(_LOOK_EVERY_S, lost_after_s / 4))


def _is_dead(content: bytes) -> bool:
    """Whether the holder is a process of this machine that has ended; then nobody need wait for it."""
    found = re.fullmatch(_PROCESS.format(r"(\d+)", re.escape(socket.gethostname())), _holder(content))
    return found is not None and not psutil.pid_exists(int(found[1]))


def _holder(content: bytes) -> str:
    return content.decode(errors="replace").rpartition(",")[0]

"""Lets one machine at a time work on something in a store; the others wait for its result.

A claim is a small file whose content changes while its holder lives. One without a change for two minutes is
taken over; time in which the store did not answer does not count. Clocks of machines differ, so changes
count, and no times. Stores differ in what they promise of two writers, so nothing rests on that: whoever has
written a claim looks a moment later whether it is still there, and a holder looks before each sign of life.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError
from figa_core.processes import interruption
from figa_core.processes.machine import machine_id

BEAT_S = 10.0
LOST_AFTER_S = 120.0
SETTLED_AFTER_S = 3.0
_LOOK_EVERY_S = 2.0


class Claim:
    """A claim that this process has taken."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store.patient(0.0), name  # a sign of life that is late is none
        self._lost = threading.Event()
        self._beats = 0
        self._about = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "machine": machine_id(),
            "token": uuid.uuid4().hex,
        }

    @property
    def is_lost(self) -> bool:
        """Whether another process has taken it over, because this one seemed dead."""
        return self._lost.is_set()

    def content(self) -> bytes:
        return json.dumps({**self._about, "beat": self._beats}).encode()

    def is_own(self) -> bool:
        """Whether the store has it as this process's. Raises ArtifactsError."""
        return self.is_in(self._store)

    def is_in(self, store: Store) -> bool:
        """As `is_own`, with the patience of this store."""
        return _read(store.read(self._name)).get("token") == self._about["token"]

    def beat(self) -> None:
        """Show a sign of life, or find out that the claim is lost; a store may fail for a time."""
        with suppress(ArtifactsError):
            if not self.is_own():
                self._lost.set()
                return
            self._beats += 1
            self._store.write(self._name, self.content())

    def release(self) -> None:
        """Raises ArtifactsError."""
        if not self.is_lost and self.is_own():
            self._store.remove([self._name])


@contextmanager
def claimed(
    store: Store,
    name: str,
    tell: Callable[[str], None] = lambda _: None,
    *,
    on_loss: Callable[[], None] = lambda: None,
    lost_after_s: float = LOST_AFTER_S,
    beat_s: float = BEAT_S,
    settled_after_s: float = SETTLED_AFTER_S,
) -> Iterator[Claim]:
    """Hold the claim `name`; while another process holds it, wait. `tell` gets a line about that.

    `on_loss` is called, in another thread, if another process takes the claim over meanwhile: it has not seen
    a sign of life for too long. A `store` that is patient is waited for before the claim is held.

    Raises:
        ArtifactsError: the store fails.
        InterruptedRunError: this process was asked to stop.
    """
    claim = Claim(store, name)
    _take(store, name, claim, tell, lost_after_s, settled_after_s)
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(beat_s):
            claim.beat()
            if claim.is_lost:
                on_loss()
                return

    thread = threading.Thread(target=beat, name=f"claim of {name}", daemon=True)
    thread.start()
    try:
        yield claim
    finally:
        stopped.set()
        thread.join()
        try:
            claim.release()
        except ArtifactsError as error:
            tell(f"warning: {error}")


def _take(
    store: Store,
    name: str,
    claim: Claim,
    tell: Callable[[str], None],
    lost_after_s: float,
    settled_after_s: float,
) -> None:
    seen: bytes | None = None
    changed_at, told = time.monotonic(), False
    while True:
        asked_at = time.monotonic()
        found = store.read(name)
        changed_at += time.monotonic() - asked_at  # the holder did not reach the store either
        if found != seen:
            seen, changed_at = found, time.monotonic()
        is_dead = found is not None and (_has_ended(found) or time.monotonic() - changed_at > lost_after_s)
        if found is None or is_dead:
            if is_dead:
                tell(f"{_holder(found)} shows no sign of life: its work is taken over")
            store.write(name, claim.content())
            interruption.sleep(settled_after_s)  # of two that write at once, the later one has it
            interruption.check()
            if claim.is_in(store):
                return
            continue
        if not told:
            told = True
            tell(f"waits for {_holder(found)}, which is at the same work, or was until it ended")
        interruption.check()
        interruption.sleep(min(_LOOK_EVERY_S, lost_after_s / 4))


def _has_ended(content: bytes) -> bool:
    """Whether the holder was a process of this machine and is none any more; then nobody need wait for it."""
    found = _read(content)
    ours = found.get("host") == socket.gethostname() and found.get("machine") == machine_id() != ""
    return ours and isinstance(pid := found.get("process"), int) and not psutil.pid_exists(pid)


def _holder(content: bytes | None) -> str:
    found = _read(content)
    return f"process {found.get('process', '?')} on {found.get('host', '?')}"


def _read(content: bytes | None) -> dict[str, object]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

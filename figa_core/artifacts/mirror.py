"""Keeps a directory here and its copy in a store alike, while processes on both sides write.

Every file has one writer, so nothing is merged: a side sends the files that it writes, and fetches others.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError

EVERY_S = 2.0
_SLICE_S = 5.0
"""After so long with other files, those at the head of the order are looked at again: signs of life."""


def _nothing(_: object) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Sides:
    """Which files are sent, and which are fetched, by their names relative to the directory.

    Attributes:
        sent: from the directory, the names of the files that this side writes, in the order in which they
            are to appear in the store.
        fetched: from the names in the store, those that this side wants, in the order in which they are to
            appear here.
    """

    sent: Callable[[Path], Iterable[str]] = _nothing
    fetched: Callable[[Collection[str]], Iterable[str]] = _nothing


class Mirror:
    """One side. As a context, it keeps the two alike in a thread, and a last time at its end."""

    def __init__(
        self,
        store: Store,
        name: str,
        directory: Path,
        sides: Sides,
        *,
        every_s: float = EVERY_S,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`name` is that of the directory's copy in the store. `tell` gets a line when the store fails."""
        self._store, self._name, self._directory, self._sides = store, name, directory, sides
        self._every_s, self._tell = every_s, tell
        self._sent: dict[str, tuple[int, ...]] = {}
        self._fetched: dict[str, str] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.names: frozenset[str] = frozenset()
        """What was in the store at the last look."""

    def round(self) -> None:
        """Send what has changed here, then fetch what has changed there. Raises ArtifactsError."""
        self._send()
        found = self._store.listing(self._name)
        self.names = frozenset(found)
        since = time.monotonic()
        for name in self._sides.fetched(self.names):
            if self._fetched.get(name) == found[name]:
                continue
            if self._store.fetch(f"{self._name}/{name}", self._directory / name):
                self._fetched[name] = found[name]
            if time.monotonic() - since > _SLICE_S:
                self._send()
                since = time.monotonic()

    def __enter__(self) -> "Mirror":
        self._thread = threading.Thread(target=self._run, name=f"mirror of {self._name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        try:
            self.round()
        except ArtifactsError as error:
            if kind is None:
                raise
            self._tell(f"warning: {error}")  # what ended the context matters more

    def stop(self) -> None:
        """End the thread, once the file under way is sent or fetched."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        failing = False
        while not self._stopped.wait(self._every_s):
            try:
                self.round()
                failing = False
            except (ArtifactsError, OSError) as error:  # OSError: of this machine's disk
                if not failing:
                    self._tell(f"warning: {error}; trying again every {self._every_s:g} s")
                failing = True

    def _send(self) -> None:
        while not self._send_for_a_slice():
            pass

    def _send_for_a_slice(self) -> bool:
        """Send what has changed, in order, until it took too long; returns whether all was sent."""
        since = time.monotonic()
        for name in self._sides.sent(self._directory):
            path = self._directory / name
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            version = (state.st_mtime_ns, state.st_size, state.st_ino)
            if self._sent.get(name) == version:
                continue
            if self._store.send(path, f"{self._name}/{name}"):
                self._sent[name] = version
            if time.monotonic() - since > _SLICE_S:
                return False
        return True

"""Keeps a directory here and its copy in a store alike, while processes on both sides write.

Every file has one writer, so nothing is merged: a side sends the files that it writes, and fetches others.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from figa_core.artifacts.patience import AWAY_S
from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError
from figa_core.processes import interruption

EVERY_S = 2.0
SLICE_S = 5.0
"""After so long with other files, those at the head of the order are looked at again: signs of life."""

STALE_S = 30.0
"""Without a whole round for so long, what is here says nothing about the other side."""


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
        slice_s: float = SLICE_S,
        patience_s: float = 0.0,
        needs_last: bool = True,
        away_s: float = AWAY_S,
        stale_s: float = STALE_S,
        may_send: Callable[[], bool] = lambda: True,
        after: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`name` is that of the directory's copy in the store.

        Args:
            store: where the copy is.
            name: of the copy.
            directory: here.
            sides: what is sent and what is fetched.
            every_s: between two rounds in the thread.
            slice_s: after so long, the head of the order is looked at again.
            patience_s: for so long the last round is tried again, if its error is one that passes.
            needs_last: whether the last round is needed; otherwise what keeps it from being made is told.
            away_s: for so long the store may fail before `is_behind` raises.
            stale_s: without a whole round for so long, `is_behind` says yes.
            may_send: asked before each file; once it says no, nothing is sent any more.
            after: called at the end of each round; may raise ArtifactsError, as a round does.
            tell: gets a line when the store fails.
        """
        self._store, self._name, self._directory, self._sides = store, name, directory, sides
        self._every_s, self._slice_s, self._patience_s = every_s, slice_s, patience_s
        self._needs_last, self._away_s, self._stale_s = needs_last, away_s, stale_s
        self._may_send, self._after, self._tell = may_send, after, tell
        self._whole_at = time.monotonic()
        self._failure: ArtifactsError | OSError | None = None
        self._sent: dict[str, tuple[int, ...]] = {}
        self._fetched: dict[str, str] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.names: frozenset[str] = frozenset()
        """What was in the store at the last look."""

    def adopt(self, names: Iterable[str]) -> None:
        """Take these files as sent: they have just been fetched."""
        for name in names:
            if (version := _version_of(self._directory / name)) is not None:
                self._sent[name] = version

    def has_sent(self, name: str) -> bool:
        """Whether the store has a file as it is here, by this mirror."""
        return name in self._sent and self._sent[name] == _version_of(self._directory / name)

    def is_behind(self) -> bool:
        """Whether the other side's files are not here as they are there: rounds fail, or take too long.

        Raises:
            ArtifactsError: the store has been away for too long, or its error does not pass by itself, as
                with expired keys.
        """
        away_s, failure = time.monotonic() - self._whole_at, self._failure
        if isinstance(failure, ArtifactsError) and not failure.may_pass:
            raise ArtifactsError(str(failure)) from failure
        if failure is not None and away_s > self._away_s:
            raise ArtifactsError(f"{failure} It was tried for {away_s:.0f} s.") from failure
        return failure is not None or away_s > self._stale_s

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
            if time.monotonic() - since > self._slice_s:
                self._send()
                since = time.monotonic()
        self._after()
        self._whole_at, self._failure = time.monotonic(), None

    def __enter__(self) -> "Mirror":
        self._thread = threading.Thread(target=self._run, name=f"mirror of {self._name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        deadline, told = time.monotonic() + self._patience_s, False
        while True:
            try:
                self.round()
                return
            except ArtifactsError as error:
                if kind is not None:
                    self._tell(f"warning: {error}")  # what ended the context matters more
                    return
                if not error.may_pass or time.monotonic() > deadline:
                    if self._needs_last:
                        raise
                    self._tell(f"warning: {error}")
                    return
                if not told:
                    self._tell(f"warning: {error} Trying again for {_minutes(self._patience_s)}")
                told = True
            interruption.check()
            interruption.sleep(self._every_s)

    def stop(self) -> None:
        """End the thread, once the file under way is sent or fetched."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            failed = self._failure is not None
            try:
                self.round()
            except (ArtifactsError, OSError) as error:  # OSError: of this machine's disk
                self._failure = error
                if not failed:
                    self._tell(f"warning: {error} Trying again every {self._every_s:g} s")
            else:
                if failed:
                    self._tell(f"{self._store.url}/{self._name}: the store answers again")

    def _send(self) -> None:
        while not self._send_for_a_slice():
            pass

    def _send_for_a_slice(self) -> bool:
        """Send what has changed, in order, until it took too long; returns whether all was sent."""
        since = time.monotonic()
        for name in self._sides.sent(self._directory):
            path = self._directory / name
            version = _version_of(path)
            if version is None or self._sent.get(name) == version:
                continue
            if not self._may_send():
                return True
            if self._store.send(path, f"{self._name}/{name}"):
                self._sent[name] = version
            if time.monotonic() - since > self._slice_s:
                return False
        return True


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def _version_of(path: Path) -> tuple[int, ...] | None:
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino

"""Shards that one process deals to others through a folder that all of them see, on whatever machines.

    work.json               engine, settings and fingerprint of the model; written before anything else
    dealer                  the dealer's signs of life
    end                     the dealer needs nothing more
    input/SHARD             requests (Parquet; `exchange` has the schemas)
    worker-N/begun          the worker's host and process
    worker-N/alive          its signs of life
    worker-N/orders/SHARD   an empty file: the worker is to do this shard
    worker-N/done/SHARD     results (Parquet), and then SHARD.json, the manifest with their hash
    worker-N/failed         why the worker has ended before the end

Every file is written under another name and renamed. A shard is done when its manifest is there. Results lie
in the folder of their worker, so that those of a worker that was thought dead cannot be taken for another's.
The clocks of machines differ, so signs of life are files whose content changes.
"""

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from figa_core.file_hashes import read_sealed, write_sealed
from figa_core.files import PARTIAL, write_whole
from figa_core.ids import file_fingerprint
from figa_core.inference.choice import Work
from figa_core.inference.engine import Generating, Scoring

BEAT_S = 5.0
_LOOK_EVERY_S = 1.0
LOST_AFTER_S = 120.0
"""A process without a sign of life for so long counts as dead; a file server may delay one for a minute."""

IsBehind = Callable[[], bool]
"""Whether the other side's files are not seen here as they are there, because what carries them fails: then
they say nothing about the other side. Raises WorkspaceError once that has lasted too long.
"""


def never_behind() -> bool:
    """Of a folder on a disk that both sides share."""
    return False


@dataclass(frozen=True, slots=True)
class DealtWork:
    """What all shards of a folder have in common.

    `engine` by its name; `work` is the part of one worker, by which "auto" chooses; `fingerprint`: of the
    model's files, which the workers compare with theirs.
    """

    engine: str
    settings: Generating | Scoring
    work: Work
    fingerprint: str


_KINDS: dict[str, TypeAdapter[Any]] = {kind.task: TypeAdapter(kind) for kind in (Generating, Scoring)}
_WORK = TypeAdapter(Work)


@dataclass(frozen=True, slots=True)
class ShardFolder:
    """The folder, for both sides. `is_behind`: of a copy on a disk of this machine's own."""

    path: Path
    is_behind: IsBehind = never_behind

    @property
    def input(self) -> Path:
        return self.path / "input"

    def worker(self, number: int) -> "WorkerFolder":
        return WorkerFolder(self.path / f"worker-{number}")

    def write_work(self, work: DealtWork) -> None:
        kind = _KINDS[work.settings.task]
        fields = {
            "engine": work.engine,
            "task": work.settings.task,
            "settings": kind.dump_python(work.settings, mode="json"),
            "work": _WORK.dump_python(work.work, mode="json"),
            "fingerprint": work.fingerprint,
        }
        write_sealed(self.path / "work.json", fields)

    def read_work(self) -> DealtWork:
        """Raises OSError if there is none, ValueError if it is damaged or of another version."""
        fields = read_sealed(self.path / "work.json")
        kind = _KINDS[fields["task"]]
        settings, work = kind.validate_python(fields["settings"]), _WORK.validate_python(fields["work"])
        return DealtWork(fields["engine"], settings, work, fields["fingerprint"])

    def end(self) -> None:
        """Tell the workers that nothing more is needed."""
        with suppress(OSError):
            (self.path / "end").touch()

    def has_ended(self) -> bool:
        return not self.path.is_dir() or (self.path / "end").exists()

    @property
    def dealer(self) -> Path:
        return self.path / "dealer"


@dataclass(frozen=True, slots=True)
class WorkerFolder:
    """One worker's part of the folder."""

    path: Path

    @property
    def alive(self) -> Path:
        return self.path / "alive"

    def begin(self) -> None:
        """Raises OSError if the folder cannot be written."""
        for name in ("orders", "done"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "begun", f"process {os.getpid()} on {socket.gethostname()}".encode())

    def where(self) -> str | None:
        """The worker's process and host; None before it has begun."""
        try:
            return (self.path / "begun").read_text(encoding="utf-8")
        except OSError:
            return None

    def order(self, shard: str) -> None:
        orders = self.path / "orders"
        orders.mkdir(parents=True, exist_ok=True)  # a worker on another disk has made its own
        (orders / shard).touch()

    def orders(self) -> list[str]:
        """The shards that are ordered and not done, in order."""
        with suppress(OSError):
            ordered = sorted(path.name for path in (self.path / "orders").iterdir() if path.suffix != PARTIAL)
            return [name for name in ordered if not self._manifest(name).exists()]
        return []

    def result(self, shard: str) -> Path:
        return self.path / "done" / shard

    def finish(self, shard: str, rows: int) -> None:
        """Write the manifest of a whole result."""
        result = self.result(shard)
        write_sealed(self._manifest(shard), {"rows": rows, "result": file_fingerprint(result)})

    def finished(self, shard: str) -> Path | None:
        """The result of a shard; None if it is not done. Raises ValueError if it is not what was written."""
        if not self._manifest(shard).exists():
            return None
        result = self.result(shard)
        try:
            sealed = read_sealed(self._manifest(shard))
            if file_fingerprint(result) != sealed["result"]:
                raise ValueError(f"{result}: its content is not what was written")
        except OSError as error:
            raise ValueError(f"{result}: {error.strerror or error}") from error
        return result

    def fail(self, reason: str) -> None:
        with suppress(OSError):
            write_whole(self.path / "failed", reason.encode())

    def failure(self) -> str | None:
        try:
            return (self.path / "failed").read_text(encoding="utf-8")
        except OSError:
            return None

    def _manifest(self, shard: str) -> Path:
        return self.path / "done" / f"{shard}.json"


def new_folder(scratch: Path, name: str) -> ShardFolder:
    """A folder for new shards. Those of earlier runs, which nobody needs any more, are removed."""
    for old in scratch.glob("dealt-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = ShardFolder(scratch / f"dealt-{name}")
    folder.input.mkdir(parents=True)
    return folder


@contextmanager
def signs_of_life(path: Path) -> Iterator[None]:
    """Change the content of a file until the end of the context."""
    stopped = threading.Event()
    write_whole(path, b"0")

    def beat() -> None:
        count = 0
        while not stopped.wait(BEAT_S):
            count += 1
            with suppress(OSError):  # the folder may be gone
                write_whole(path, str(count).encode())

    thread = threading.Thread(target=beat, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


class LifeWatch:
    """Whether the content of a file still changes."""

    def __init__(
        self, path: Path, lost_after_s: float = LOST_AFTER_S, is_behind: IsBehind = never_behind
    ) -> None:
        self._path, self._lost_after_s, self._is_behind = path, lost_after_s, is_behind
        self._content, self._changed_at, self._looked_at = b"", time.monotonic(), float("-inf")

    def is_lost(self) -> bool:
        """Whether there was no change for too long; the file is read once a second at most.

        Time in which nobody asked does not count: it says nothing if the file cannot be read just then. Nor
        does time in which the file here was not the one there. Raises: see `IsBehind`.
        """
        now = time.monotonic()
        if self._is_behind() or now - self._looked_at > max(self._lost_after_s, 2 * _LOOK_EVERY_S):
            self._changed_at = now
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            with suppress(OSError):
                if (content := self._path.read_bytes()) != self._content:
                    self._content, self._changed_at = content, now
        return now - self._changed_at > self._lost_after_s

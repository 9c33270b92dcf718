"""One owner per workspace: a file lock, and beside it a note that says who holds it.

The lock (`filelock`) is the truth and vanishes with its process, however that ends; the note, with its
heartbeat, only tells people whom they are waiting for.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson
from filelock import FileLock, Timeout

from figa_core.errors import WorkspaceBusyError, WorkspaceError
from figa_core.files import write_whole

_HEARTBEAT_S = 5.0


@contextmanager
def workspace_lease(directory: Path, *, owner: str, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the workspace; wait up to `timeout_s` for another holder.

    Raises:
        WorkspaceBusyError: another process holds it; the message says which.
        WorkspaceError: the directory cannot be created or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / "lease.lock", thread_local=False)
        lock.acquire(timeout=timeout_s, poll_interval=0.2)
    except Timeout as error:
        raise WorkspaceBusyError(
            f"{directory}: another run holds this workspace: {describe_holder(directory)}. "
            "Wait for it, stop it, or set workspace.lease_timeout_s to queue behind it."
        ) from error
    except OSError as error:
        raise WorkspaceError(
            f"{directory}: cannot write to the workspace: {error.strerror or error}. "
            "Set workspace.path to a directory you may write to."
        ) from error
    stopped = threading.Event()
    note = _note(directory)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    beat = threading.Thread(target=_beat, args=(note, owner, started, stopped), daemon=True)
    try:
        with contextlib.suppress(OSError):  # on a full disk: the lock counts, not the note
            _write(note, owner, started)
        beat.start()
        yield
    finally:
        stopped.set()
        if beat.is_alive():
            beat.join()
        with contextlib.suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def is_held(directory: Path) -> bool:
    """Whether some process holds the lease at this moment."""
    lock = FileLock(directory / "lease.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False  # a directory we may not write to: we cannot hold it either
    lock.release()
    return False


def describe_holder(directory: Path) -> str:
    """Who wrote the note, in words; says so when there is none, or one that another version wrote."""
    try:
        holder = orjson.loads(_note(directory).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return "unknown (it has just started or ended)"
    try:
        return (
            f"{holder['owner']}, process {holder['pid']} on {holder['host']}, since {holder['started']}, "
            f"last sign of life {holder['heartbeat']}"
        )
    except (KeyError, TypeError):
        return f"unknown ({_note(directory)} is of another version)"


def _note(directory: Path) -> Path:
    return directory / "lease.json"


def _write(note: Path, owner: str, started: str) -> None:
    content = {
        "owner": owner,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": started,
        "heartbeat": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_whole(note, orjson.dumps(content))


def _beat(note: Path, owner: str, started: str, stopped: threading.Event) -> None:
    last = time.monotonic()
    while not stopped.wait(0.2):
        if time.monotonic() - last > _HEARTBEAT_S:
            with contextlib.suppress(OSError):
                _write(note, owner, started)
            last = time.monotonic()

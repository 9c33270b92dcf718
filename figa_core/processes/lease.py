"""One owner per workspace: a file lock, and a note beside it about its holder.

Only the lock (`filelock`) counts, and it vanishes with its process. The note, with its heartbeat, is for
people who wait.
"""

import contextlib
import os
import socket
import threading
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
        WorkspaceBusyError: another process holds it; the message names it.
        WorkspaceError: the directory cannot be created or written.
    """
    lock = _lock(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
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
    note, started = _note(directory), _now()
    beat = threading.Thread(target=_beat, args=(note, owner, started, stopped), daemon=True)
    try:
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
    """Whether a process holds the lease now."""
    lock = _lock(directory)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False  # the directory is not writable, so we cannot hold it either
    lock.release()
    return False


def describe_holder(directory: Path) -> str:
    """The holder by its note, in words; "unknown" without a note or with another version's."""
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


def _lock(directory: Path) -> FileLock:
    return FileLock(directory / "lease.lock", thread_local=False)


def _note(directory: Path) -> Path:
    return directory / "lease.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(note: Path, owner: str, started: str) -> None:
    holder = {
        "owner": owner,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": started,
        "heartbeat": _now(),
    }
    with contextlib.suppress(OSError):  # a full disk: the lock counts, not the note
        write_whole(note, orjson.dumps(holder))


def _beat(note: Path, owner: str, started: str, stopped: threading.Event) -> None:
    while not stopped.wait(_HEARTBEAT_S):
        _write(note, owner, started)

"""One owner per workspace: a file lock, and a note beside it about its holder.

The lock (`filelock`) counts, and it vanishes with its process. The note, with its heartbeat, is for people
who wait. It has one more use: locks of some network file systems do not reach other machines. So whoever gets
the lock although the note is another machine's waits for two heartbeats, and refuses if the note still
changes.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from figa_core.errors import WorkspaceBusyError, WorkspaceError
from figa_core.files import write_whole
from figa_core.processes import interruption
from figa_core.processes.machine import machine_id

_HEARTBEAT_S = 5.0
_SIGNS_WAITED = 2.5


@contextmanager
def workspace_lease(directory: Path, *, owner: str, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the workspace; wait up to `timeout_s` for another holder.

    Raises:
        WorkspaceBusyError: another process holds it, or one of another host that the lock does not keep out;
            the message names it.
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
    try:
        _check_nobody_elsewhere(directory)
    except BaseException:
        lock.release()
        raise
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
    holder = _holder(directory)
    if holder is None:
        return "unknown (it has just started or ended)"
    try:
        return (
            f"{holder['owner']}, process {holder['pid']} on {holder['host']}, since {holder['started']}, "
            f"last sign of life {holder['heartbeat']}"
        )
    except (KeyError, TypeError):
        return f"unknown ({_note(directory)} is of another version)"


def _check_nobody_elsewhere(directory: Path) -> None:
    """Raises WorkspaceBusyError if the holder in the note runs on another machine, and is alive.

    Clocks of two machines may differ, so a sign of life is a note that changes, not a recent time.
    """
    before = _holder(directory)
    if before is None or _is_here(before):
        return
    deadline = time.monotonic() + _SIGNS_WAITED * _HEARTBEAT_S
    while time.monotonic() < deadline:
        interruption.sleep(min(_HEARTBEAT_S, 1.0) / 4)
        interruption.check()
        if (now := _holder(directory)) is None:
            return
        if now != before:
            raise WorkspaceBusyError(
                f"{directory}: {describe_holder(directory)}, uses this workspace, and the locks of this file "
                "system do not keep this machine out. Wait for it or stop it; and keep workspaces on a file "
                "system whose locks hold between machines."
            )


def _is_here(holder: Mapping[str, Any]) -> bool:
    """Whether the lock would have kept this process out; hosts of one name are told apart."""
    same_machine = holder.get("machine", machine_id()) == machine_id()
    return holder.get("host") is None or (holder["host"] == socket.gethostname() and same_machine)


def _holder(directory: Path) -> dict[str, Any] | None:
    try:
        found = orjson.loads(_note(directory).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


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
        "machine": machine_id(),
        "started": started,
        "heartbeat": _now(),
    }
    with contextlib.suppress(OSError):  # a full disk: the lock counts, not the note
        write_whole(note, orjson.dumps(holder))


def _beat(note: Path, owner: str, started: str, stopped: threading.Event) -> None:
    while not stopped.wait(_HEARTBEAT_S):
        _write(note, owner, started)

"""One owner per workspace, however the owner ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from figa_core.errors import WorkspaceBusyError, WorkspaceError
from figa_core.files import write_whole
from figa_core.processes import lease
from figa_core.processes.lease import describe_holder, is_held, workspace_lease

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom figa_core.processes.lease import workspace_lease\n"
    "with workspace_lease(Path(sys.argv[1]), owner='the other run'):\n"
    "    print('ready', flush=True)\n    time.sleep(60)"
)


@contextmanager
def held_by_another_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_owner_learns_who_the_first_is(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as other:
        assert is_held(tmp_path)
        with (
            pytest.raises(WorkspaceBusyError, match=f"the other run, process {other.pid}"),
            workspace_lease(tmp_path, owner="us"),
        ):
            pass


def test_the_lease_of_a_killed_owner_is_free(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert not is_held(tmp_path)
        with workspace_lease(tmp_path, owner="us"):
            assert describe_holder(tmp_path).startswith("us, process")


def test_a_waiting_run_gets_the_lease_when_the_holder_ends(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as other:
        threading.Timer(0.5, other.kill).start()
        with workspace_lease(tmp_path, owner="us", timeout_s=20):
            assert is_held(tmp_path)


def test_nothing_remains_of_an_ended_lease(tmp_path: Path) -> None:
    with workspace_lease(tmp_path, owner="us"):
        pass
    assert not is_held(tmp_path)
    assert not (tmp_path / "lease.json").exists()
    assert "unknown" in describe_holder(tmp_path)


def test_a_directory_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(WorkspaceError, match=r"workspace\.path"),
        workspace_lease(tmp_path / "file" / "workspace", owner="us"),
    ):
        pass


def test_waiting_ends_at_the_timeout(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path):
        started = time.monotonic()
        with (
            pytest.raises(WorkspaceBusyError, match="the other run"),
            workspace_lease(tmp_path, owner="us", timeout_s=0.6),
        ):
            pass
        assert 0.5 < time.monotonic() - started < 5


def test_two_runs_in_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    with workspace_lease(tmp_path, owner="first"):
        with (
            pytest.raises(WorkspaceBusyError, match="first, process"),
            workspace_lease(tmp_path, owner="second"),
        ):
            pass
        assert describe_holder(tmp_path).startswith("first, process")


def test_a_failing_run_returns_the_lease(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), workspace_lease(tmp_path, owner="us"):
        _ = 1 / 0
    assert not is_held(tmp_path)


def test_the_note_of_a_killed_owner_is_replaced_by_the_next(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as other:
        other.kill()
        other.wait()
        assert describe_holder(tmp_path).startswith("the other run")
        with workspace_lease(tmp_path, owner="us"):
            assert describe_holder(tmp_path).startswith("us, process")


def test_a_torn_note_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text('{"owner": "x')
    assert "unknown" in describe_holder(tmp_path)
    with workspace_lease(tmp_path, owner="us"):
        assert describe_holder(tmp_path).startswith("us, process")


def test_a_missing_workspace_is_created(tmp_path: Path) -> None:
    with workspace_lease(tmp_path / "a" / "b", owner="us"):
        assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("note", [b"[]", b'{"owner": "a run"}', b'"text"', b"no JSON", b"null"])
def test_a_note_of_another_shape_is_an_unknown_holder(note: bytes, tmp_path: Path) -> None:
    with held_by_another_process(tmp_path):
        (tmp_path / "lease.json").write_bytes(note)
        assert describe_holder(tmp_path).startswith("unknown (")
        with pytest.raises(WorkspaceBusyError, match="unknown"), workspace_lease(tmp_path, owner="me"):
            pass


def test_a_note_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / f"lease.json.{os.getpid()}.partial").mkdir()
    with workspace_lease(tmp_path, owner="me"):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_a_lock_that_is_not_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "lease.lock").mkdir()
    assert not is_held(tmp_path)
    with (
        pytest.raises(WorkspaceError, match=r"cannot write to the workspace.*workspace\.path"),
        workspace_lease(tmp_path, owner="me"),
    ):
        pass


def test_the_note_gives_its_times_in_utc(tmp_path: Path) -> None:
    with workspace_lease(tmp_path, owner="me"):
        note = json.loads((tmp_path / "lease.json").read_bytes())
    for time_of in ("started", "heartbeat"):
        assert datetime.fromisoformat(note[time_of]).utcoffset() == timedelta(0)


def test_the_note_is_rewritten_while_the_lease_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_HEARTBEAT_S", 0.01)
    note = tmp_path / "lease.json"
    with workspace_lease(tmp_path, owner="me"):
        note.unlink()
        deadline = time.monotonic() + 20
        while not note.exists():
            assert time.monotonic() < deadline, "no heartbeat"
            time.sleep(0.01)
        assert describe_holder(tmp_path).startswith("me, process")
    assert not note.exists()


class Waits(threading.Event):
    """An event that takes no time: every wait is the next step, and after the last it is set."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        super().__init__()
        self._steps = list(steps)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == lease._HEARTBEAT_S
        if self._steps:
            self._steps.pop(0)()
            return False
        return True


def test_a_heartbeat_that_cannot_be_written_is_not_the_last(tmp_path: Path) -> None:
    obstacle = tmp_path / f"lease.json.{os.getpid()}.partial"
    lease._beat(tmp_path / "lease.json", "me", "today", Waits(obstacle.mkdir, obstacle.rmdir))
    assert describe_holder(tmp_path).startswith("me, process")
    assert ", since today, " in describe_holder(tmp_path)


def _note_of_another_host(directory: Path, heartbeat: str, host: str = "elsewhere", **more: str) -> None:
    holder = {"owner": "a run", "pid": 7, "host": host, "started": "today", "heartbeat": heartbeat, **more}
    write_whole(directory / "lease.json", json.dumps(holder).encode())


@pytest.mark.parametrize(
    ("host", "more"), [("elsewhere", {}), (socket.gethostname(), {"machine": "another start"})]
)
def test_a_holder_on_another_host_that_the_lock_does_not_keep_out_is_noticed_by_its_signs_of_life(
    host: str, more: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_HEARTBEAT_S", 20.0)
    _note_of_another_host(tmp_path, "12:00:00", host, **more)  # whatever the clock here says
    timer = threading.Timer(0.2, _note_of_another_host, [tmp_path, "12:00:05", host], more)
    timer.start()
    with (
        pytest.raises(
            WorkspaceBusyError, match=rf"a run, process 7 on {re.escape(host)}, .* do not keep this machine"
        ),
        workspace_lease(tmp_path, owner="us"),
    ):
        pass
    timer.join()
    assert not is_held(tmp_path)
    assert describe_holder(tmp_path).startswith("a run")  # the note is still theirs


def test_the_note_of_a_killed_holder_on_another_host_keeps_nobody_out_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_HEARTBEAT_S", 0.05)
    _note_of_another_host(tmp_path, "12:00:00")
    with workspace_lease(tmp_path, owner="us"):
        assert describe_holder(tmp_path).startswith("us, process")


def test_the_note_of_an_earlier_version_on_this_host_is_waited_for_by_nobody(tmp_path: Path) -> None:
    _note_of_another_host(tmp_path, "12:00:00", socket.gethostname())
    started = time.monotonic()
    with workspace_lease(tmp_path, owner="us"):
        assert time.monotonic() - started < lease._HEARTBEAT_S


def test_a_holder_on_another_host_that_ends_meanwhile_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_HEARTBEAT_S", 20.0)
    _note_of_another_host(tmp_path, "12:00:00")
    timer = threading.Timer(0.2, (tmp_path / "lease.json").unlink)
    timer.start()
    with workspace_lease(tmp_path, owner="us"):
        assert describe_holder(tmp_path).startswith("us, process")
    timer.join()

"""One owner per workspace, whatever way the owner ends."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from figa_core.errors import WorkspaceBusyError, WorkspaceError
from figa_core.storage.lease import describe_holder, is_held, workspace_lease

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom figa_core.storage.lease import workspace_lease\n"
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


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
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


def test_one_who_waits_gets_the_lease_when_the_holder_ends(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as other:
        threading.Timer(0.5, other.kill).start()
        with workspace_lease(tmp_path, owner="us", timeout_s=20):
            assert is_held(tmp_path)


def test_nothing_is_left_of_a_lease_that_ended(tmp_path: Path) -> None:
    with workspace_lease(tmp_path, owner="us"):
        pass
    assert not is_held(tmp_path)
    assert not (tmp_path / "lease.json").exists()
    assert "unknown" in describe_holder(tmp_path)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(WorkspaceError, match=r"workspace\.path"),
        workspace_lease(tmp_path / "file" / "workspace", owner="us"),
    ):
        pass

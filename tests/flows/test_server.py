"""Our own Prefect server: it answers, keeps its history in the workspace, and dies with the run."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from figa_core.errors import WorkspaceError
from flows.server import PrefectServer


def test_a_server_that_cannot_start_says_where_its_log_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_DATABASE_TIMEOUT", "not-a-number")
    with PrefectServer(tmp_path) as server, pytest.raises(WorkspaceError, match=r"server\.log"):
        server.wait()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(WorkspaceError, match="cannot create"):
        PrefectServer(blocked / "prefect")


def test_the_server_dies_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom flows.server import PrefectServer\n"
        "server = PrefectServer(Path(sys.argv[1]))\nprint(server._process.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    time.sleep(1.0)  # let it reach the call that ties it to its parent
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    psutil.wait_procs([server], timeout=20)
    assert not server.is_running()

"""Our own Prefect server: its errors, its slots after a restart, and that it dies with the run."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from figa_core.errors import WorkspaceError
from flows.server.process import PrefectServer


def test_a_server_that_cannot_start_says_where_its_log_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_DATABASE_TIMEOUT", "not-a-number")
    with PrefectServer(tmp_path) as server, pytest.raises(WorkspaceError, match=r"server\.log"):
        server.wait()


def test_a_directory_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(WorkspaceError, match="cannot create"):
        PrefectServer(blocked / "prefect")


def test_the_server_dies_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom flows.server.process import PrefectServer\n"
        "server = PrefectServer(Path(sys.argv[1]))\nprint(server.process.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    time.sleep(1.0)  # until the child has asked for the signal at its parent's end
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    psutil.wait_procs([server], timeout=20)
    assert not server.is_running()


def test_a_run_keeps_its_slot_when_the_server_restarts(tmp_path: Path) -> None:
    """Prefect renews the slot of a run every four minutes, and ends the run if the slot is gone."""
    limit = {"name": "one-at-a-time", "limit": 1}
    with PrefectServer(tmp_path) as server:
        server.wait()
        _post(f"{server.api_url}/v2/concurrency_limits/", limit)
        taken = {"names": [limit["name"]], "slots": 1, "mode": "concurrency", "lease_duration": 300}
        lease = _post(f"{server.api_url}/v2/concurrency_limits/increment-with-lease", taken)
    with PrefectServer(tmp_path) as server:
        server.wait()
        route = f"{server.api_url}/v2/concurrency_limits/leases/{lease.json()['lease_id']}/renew"
        _post(route, {"lease_duration": 300})


def _post(route: str, body: dict[str, Any]) -> httpx2.Response:
    """The server's answer; tries again while the database is busy (503)."""
    deadline = time.monotonic() + 60
    while (response := httpx2.post(route, json=body)).status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert response.is_success, response.text
    return response

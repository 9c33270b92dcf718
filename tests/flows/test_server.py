"""Our own Prefect server: it answers, keeps its history in the workspace, and dies with the run."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import httpx2
import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from figa_core.errors import ConfigError, WorkspaceError
from flows.server import PrefectServer, prefect_api


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
        "server = PrefectServer(Path(sys.argv[1]))\nprint(server.process.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    time.sleep(1.0)  # let it reach the call that ties it to its parent
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    psutil.wait_procs([server], timeout=20)
    assert not server.is_running()


def test_a_run_keeps_its_slot_when_the_server_starts_anew(tmp_path: Path) -> None:
    """Prefect ends a run whose slot is gone when it is to be renewed, every four minutes."""
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
    """What the server answers; 503 is its word for a database that is busy, and means: ask again."""
    deadline = time.monotonic() + 60
    while (response := httpx2.post(route, json=body)).status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert response.is_success, response.text
    return response


class Somebody:
    """Somebody who answers at an address: with a status and a body for each path, or with any bytes."""

    def __init__(self, answers: dict[str, tuple[int, bytes]] | None = None, *, raw: bytes = b"") -> None:
        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                path = self.rfile.readline().split()[1].decode()
                while self.rfile.readline().strip():
                    pass
                status, body = (answers or {}).get(path, (404, b"<html>nothing here</html>"))
                head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
                self.wfile.write(raw or head.encode() + body)

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.api_url = f"http://127.0.0.1:{self._server.server_address[1]}/api"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


HEALTHY = {"/api/health": (200, b"true")}


@pytest.mark.parametrize(
    ("somebody", "said"),
    [
        (Somebody, "no Prefect API (status 404); the address of one ends in /api"),
        (partial(Somebody, {"/api/health": (200, b"<html>hello</html>")}), "its /health does not say true"),
        (partial(Somebody, {"/api/health": (500, b"")}), "no Prefect API (status 500)"),
        (partial(Somebody, {"/api/health": (401, b""), "/api/admin/version": (401, b"{}")}), "the key"),
        (partial(Somebody, raw=b"-ERR unknown command\r\n"), "nobody answers there (-ERR unknown command)"),
        (partial(Somebody, HEALTHY | {"/api/admin/version": (200, b'"2.20.1"')}), "server: 2.20.1"),
        (partial(Somebody, HEALTHY), "Failed to reach API"),
    ],
    ids=["404", "html", "500", "401", "no-http", "prefect-2", "no-version"],
)
def test_an_address_where_somebody_else_answers_is_refused_in_words(
    somebody: Callable[[], Somebody], said: str, tmp_path: Path
) -> None:
    there = somebody()
    try:
        assert said in _refusal(there.api_url, tmp_path)
    finally:
        there.close()


@pytest.mark.parametrize("url", ["localhost:4200/api", "an-address", "http://127.0.0.1:9/api"])
def test_an_address_where_nobody_can_answer_is_refused_in_words(url: str, tmp_path: Path) -> None:
    assert f"PREFECT_API_URL = {url}: nobody answers there" in _refusal(url, tmp_path)


def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "")
    with temporary_settings({PREFECT_API_URL: ""}), prefect_api(tmp_path) as own:
        assert own is not None
        assert os.environ["PREFECT_API_URL"] == own.api_url
    assert os.environ["PREFECT_API_URL"] == ""


def _refusal(url: str, directory: Path) -> str:
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(ConfigError) as refused,
        prefect_api(directory),
    ):
        pass
    message = str(refused.value)
    assert "\n" not in message
    assert "unset it" in message
    return message


def test_the_address_of_a_server_may_end_in_a_slash(prefect_server: PrefectServer, tmp_path: Path) -> None:
    with (
        temporary_settings({PREFECT_API_URL: f"{prefect_server.api_url}/"}),
        prefect_api(tmp_path) as own,
    ):
        assert own is None

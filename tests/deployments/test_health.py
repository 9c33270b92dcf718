"""The health checks of containers: of an API, a worker and background services, alive and not."""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from deployments.health import check_api, check_services, check_worker, main
from figa_core.errors import FigaError
from figa_core.processes.child import Child
from flows.server.databases import in_directory, on_redis
from flows.server.names import CPU_POOL, worker_name
from tests.deployments.databases import Service, reason_against, redis_at

NOBODY = "http://127.0.0.1:9/api"
CONTAINER = "4f2a"


class Prefect(BaseHTTPRequestHandler):
    """What a Prefect server answers, with one worker online."""

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - its name there

    def do_GET(self) -> None:
        assert self.path == "/api/ready"
        self._answer(200, {"message": "OK"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked == {"workers": {"status": {"any_": ["ONLINE"]}}}
        assert self.path == "/api/work_pools/cpu/workers/filter"
        allowed = self.headers.get("Authorization") == "Basic dXNlcjpwYXNz"
        self._answer(200 if allowed else 401, [{"name": worker_name(CPU_POOL)}])

    def _answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())


@pytest.fixture
def prefect_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Prefect) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Service]:
    if (reason := reason_against()) is not None:
        pytest.skip(reason)
    server = redis_at(tmp_path)
    server.start()
    yield server
    server.stop()


def url_of(redis: Service) -> str:
    return f"redis://127.0.0.1:{redis.port}/0"


def test_an_api_that_answers_is_healthy_and_another_is_named(prefect_url: str) -> None:
    check_api(prefect_url)
    with pytest.raises(FigaError, match=f"{NOBODY}/ready.*refused"):
        check_api(NOBODY)


def test_a_worker_is_healthy_if_the_server_knows_it_and_the_password_is_right(prefect_url: str) -> None:
    check_worker(prefect_url, "user:pass", CPU_POOL)
    with pytest.raises(FigaError, match="401"):
        check_worker(prefect_url, "user:wrong", CPU_POOL)
    with pytest.raises(FigaError, match="refused"):
        check_worker(NOBODY, None, CPU_POOL)


def test_services_are_healthy_while_they_tell_redis_so(redis: Service) -> None:
    from redis import Redis

    with Redis.from_url(url_of(redis)) as client:
        with pytest.raises(FigaError, match=f"services of {CONTAINER} .* never"):
            check_services(url_of(redis), CONTAINER, 1000.0)
        client.zadd("prefect:workers", {f"{CONTAINER}#7": 995.0, "another#7": 1000.0})
        check_services(url_of(redis), CONTAINER, 1000.0)
        with pytest.raises(FigaError, match="40 s ago"):
            check_services(url_of(redis), CONTAINER, 1035.0)
    redis.stop()
    with pytest.raises(FigaError, match="Redis does not answer"):
        check_services(url_of(redis), CONTAINER, 1000.0)


def test_the_command_ends_with_1_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", NOBODY)
    assert main(["worker", "cpu"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {NOBODY}/work_pools/cpu")


def test_it_imports_nothing_of_prefect(tmp_path: Path) -> None:
    code = "import sys, deployments.health; sys.exit(any(name.startswith('prefect') for name in sys.modules))"
    asked = Child([sys.executable, "-c", code], tmp_path / "log")
    assert asked.wait_until(lambda: False, timeout_s=60) is False
    assert asked.exit_code == 0, asked.log_tail(20)


@pytest.mark.slow
async def test_a_worker_of_prefect_is_found_on_a_server_of_prefect(prefect_api: str) -> None:
    from prefect.workers.process import ProcessWorker

    with pytest.raises(FigaError, match="404"):
        check_worker(prefect_api, None, CPU_POOL)
    async with ProcessWorker(CPU_POOL, name=worker_name(CPU_POOL)) as worker, get_client():
        await worker.sync_with_backend()
        check_api(prefect_api)
        check_worker(prefect_api, None, CPU_POOL)


@pytest.mark.slow
def test_the_background_services_of_prefect_are_found_and_missed(redis: Service, tmp_path: Path) -> None:
    environment = {**os.environ, **in_directory(tmp_path), **on_redis(url_of(redis))}
    prefect = [sys.executable, "-m", "prefect", "server"]
    migration = Child([*prefect, "database", "upgrade", "--yes"], tmp_path / "log", environment=environment)
    assert migration.wait_until(lambda: migration.exit_code == 0, timeout_s=240), migration.log_tail(20)
    services = Child([*prefect, "services", "start"], tmp_path / "log", environment=environment)

    def healthy() -> bool:
        try:
            check_services(url_of(redis), socket.gethostname(), time.time())
        except FigaError:
            return False
        return True

    try:
        assert services.wait_until(healthy, timeout_s=240), services.log_tail(20)
        os.kill(services.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while healthy() and time.monotonic() < deadline:
            time.sleep(1)
        assert not healthy(), "they hang, and nothing says so"
    finally:
        os.kill(services.pid, signal.SIGKILL)

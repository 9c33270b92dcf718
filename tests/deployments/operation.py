"""`make serve` as a subprocess, and the Prefect API as the UI uses it."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from figa_core.processes.child import Child
from figa_core.processes.children import child_environment

START_TIMEOUT_S = 240.0


class _Patient(httpx.BaseTransport):
    """Repeats requests that are refused while Prefect's SQLite is locked (503), as Prefect's client does."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + 60
        while True:
            response = self._transport.handle_request(request)
            if response.status_code != 503 or time.monotonic() > deadline:
                return response
            response.close()
            time.sleep(0.5)

    def close(self) -> None:
        self._transport.close()


class Operation:
    """Server, workers and deployments as `make serve` starts them, on a free port."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.port = _free_port()
        self.log = directory / "serve.log"
        self._environment = {**environment, "OMP_NUM_THREADS": "1"}
        self._serve: Child | None = None
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/api",
            timeout=60,
            transport=_Patient(httpx.HTTPTransport()),
        )

    @property
    def url(self) -> str:
        """The UI."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    def start(self) -> None:
        """Start it, also after it was killed; returns when both workers have reported to the server."""
        environment = child_environment(**self._environment)
        for name in ("PREFECT_API_URL", "PREFECT_HOME"):
            environment.pop(name, None)
        command = [sys.executable, "-m", "deployments.serve", "--port", str(self.port)]
        command += ["--directory", str(self.directory / "serve")]
        self._serve = Child(command, self.log, environment=environment)
        self.wait_for(lambda: all(self.workers(pool) for pool in ("cpu", "gpu")), START_TIMEOUT_S)

    def stop(self) -> list[psutil.Process]:
        """Press Ctrl-C; returns the processes that are still alive half a minute after its end."""
        if self._serve is None or self._serve.exit_code is not None:
            return []
        family = self.processes()
        os.kill(self._serve.pid, signal.SIGINT)
        self._serve.wait_until(lambda: False, timeout_s=90)
        return psutil.wait_procs(family, timeout=30)[1]

    def processes(self, named: str = "") -> list[psutil.Process]:
        """`make serve` and its descendants whose command line contains `named`."""
        assert self._serve is not None
        serve = psutil.Process(self._serve.pid)
        found = []
        for process in (serve, *serve.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                if named in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def wait_for(self, happened: Callable[[], Any], timeout_s: float = 120.0) -> Any:
        """What `happened` returns, once that is true."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if found := happened():
                    return found
            assert self._serve is None or self._serve.exit_code is None, self.log.read_text()
            assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s\n{self.log.read_text()}"
            time.sleep(0.3)

    def post(self, route: str, **body: Any) -> Any:
        response = self.api.post(route, json=body)
        response.raise_for_status()
        return response.json() if response.content else None

    def get(self, route: str) -> Any:
        response = self.api.get(route)
        response.raise_for_status()
        return response.json()

    def workers(self, pool: str) -> list[dict[str, Any]]:
        found = self.post(f"/work_pools/{pool}/workers/filter", limit=10, offset=0)
        return [worker for worker in found if worker["status"] == "ONLINE"]

    def deployment(self, name: str) -> dict[str, Any]:
        return self.get(f"/deployments/name/{name}/{name}")

    def run(self, name: str, **parameters: Any) -> str:
        """Start a deployment as the form does; returns the flow run's id."""
        deployment = self.deployment(name)
        route = f"/deployments/{deployment['id']}/create_flow_run"
        return self.post(route, parameters=parameters, state={"type": "SCHEDULED"})["id"]

    def flow_run(self, run: str) -> dict[str, Any]:
        return self.get(f"/flow_runs/{run}")

    def retry(self, run: str) -> None:
        """Send what the Retry button sends."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        assert self.post(f"/flow_runs/{run}/set_state", state=state)["status"] == "ACCEPT"

    def ended(self, run: str, timeout_s: float = 240.0) -> dict[str, Any]:
        """The run, once its state is final."""

        def final() -> dict[str, Any] | None:
            found = self.flow_run(run)
            return found if found["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

        return self.wait_for(final, timeout_s)

    def in_state(self, run: str, *names: str, timeout_s: float = 120.0) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            found = self.flow_run(run)
            return found if found["state_name"] in names else None

        return self.wait_for(there, timeout_s)

    def logs(self, run: str) -> list[dict[str, Any]]:
        wanted = {"flow_run_id": {"any_": [run]}}
        return self.post("/logs/filter", logs=wanted, limit=200, sort="TIMESTAMP_ASC")

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        """The newest artifact of each key."""
        wanted = {"flow_run_id": {"any_": [run]}}
        found = self.post("/artifacts/filter", artifacts=wanted, limit=100)
        return {each["key"]: each for each in sorted(found, key=lambda each: each["updated"])}

    def children_of(self, run: str) -> list[dict[str, Any]]:
        """The flow runs that a flow run started."""
        return self.post("/flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [run]}}, limit=50)


@contextlib.contextmanager
def operation(directory: Path, **environment: str) -> Iterator[Operation]:
    """`make serve` while the block runs."""
    directory.mkdir(parents=True, exist_ok=True)
    started = Operation(directory, **environment)
    try:
        started.start()
        yield started
    finally:
        started.api.close()
        for process in started.stop():
            with contextlib.suppress(psutil.Error):
                process.kill()


def kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            os.kill(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

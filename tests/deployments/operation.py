"""`make serve` as a subprocess."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from flows.server.databases import DATABASE_VARIABLE, REDIS_VARIABLE
from tests.deployments.prefect_api import Api

START_TIMEOUT_S = 240.0


class Operation(Api):
    """Server, workers and deployments as `make serve` starts them, on a free port."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.port = _free_port()
        self.log = directory / "serve.log"
        self._environment = {**environment, "OMP_NUM_THREADS": "1"}
        self._serve: Child | None = None
        super().__init__(f"http://127.0.0.1:{self.port}")

    def check_alive(self) -> None:
        assert self._serve is None or self._serve.exit_code is None, self.story()

    def story(self) -> str:
        return self.log.read_text()

    def start(self) -> None:
        """Start it, also after it was killed; returns when both workers have reported to the server."""
        environment = child_environment()
        for name in ("PREFECT_API_URL", "PREFECT_HOME", DATABASE_VARIABLE, REDIS_VARIABLE):
            environment.pop(name, None)
        environment |= self._environment
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

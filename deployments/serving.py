"""A Prefect server and two workers on this machine: starts them, restarts them, and stops them in order."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from prefect.context import refresh_global_settings_context

from deployments.deploy import deploy
from deployments.pools import Pool
from figa_core.errors import FigaError
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from flows.server.databases import named_by
from flows.server.names import API_URL_VARIABLE
from flows.server.process import PrefectServer
from flows.server.published import DIRECTORY_VARIABLE, URL_VARIABLE

_RESTART_AFTER_S = 2.0
_RESTART_EARLY_S = 30.0
_EARLY_S = 20.0
_STOP_S = 30.0  # more than `deployments/engine.py` gives a run


class Worker:
    """A worker process on one pool."""

    def __init__(self, pool: Pool, directory: Path, environment: dict[str, str]) -> None:
        self.name = f"worker on {pool}"
        self.started_at = time.monotonic()
        self.restart_at: float | None = None
        command = [sys.executable, "-m", "deployments.worker", pool]
        self.process = Child(command, directory / f"worker-{pool}.log", environment=environment)

    def runs(self) -> list[psutil.Process]:
        """The processes of its runs and their children."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


class Serving:
    """The server and the workers; they die with this process."""

    def __init__(self, directory: Path, port: int, say: Callable[[str], None]) -> None:
        """Start the server; `say` gets lines for people.

        Raises ConfigError if a database that the environment names cannot be used.
        """
        self._directory, self._port, self._say = directory.resolve(), port, say
        self.server = self._start_server()
        self.workers: dict[Pool, Worker] = {}

    def start(self) -> None:
        """Wait for the server, deploy, and start the workers.

        Raises:
            WorkspaceError: the server does not start.
            ConfigError: Prefect refuses a deployment.
        """
        self.server.wait()
        os.environ[API_URL_VARIABLE] = self.server.api_url
        refresh_global_settings_context()
        for line in asyncio.run(deploy()):
            self._say(f"  {line}")
        for pool in Pool:
            self.workers[pool] = self._start_worker(pool)

    def restart_dead(self) -> None:
        """Restart the server and the workers that have died."""
        if self.server.process.exit_code is not None:
            self._say(f"the Prefect server has {_ended(self.server.process)}; restarting it")
            self._restart_server()
        for pool, worker in self.workers.items():
            if worker.process.exit_code is not None:
                self._restart(pool, worker)

    def stop(self) -> None:
        """End the workers, wait until their runs have reported their end, then end the server.

        Asked to end, Prefect's worker would wait for its runs, possibly for hours. So it is killed: each of
        its runs notices, stores its results and reports that it crashed (`deployments/engine.py`).
        """
        runs = [run for worker in self.workers.values() for run in worker.runs()]
        for worker in self.workers.values():
            worker.process.kill()
        _, alive = psutil.wait_procs(runs, timeout=_STOP_S)
        for run in alive:
            run.kill()
        self.server.stop()

    def _restart_server(self) -> None:
        """If it cannot start now (its database may be away), say why: the next round tries again."""
        time.sleep(_RESTART_AFTER_S)
        try:
            self.server = self._start_server()
            self.server.wait()
        except FigaError as error:
            self._say(f"{error}\nThe next attempt is in {_RESTART_EARLY_S:.0f} s; runs go on meanwhile.")
            time.sleep(_RESTART_EARLY_S)

    def _restart(self, pool: Pool, worker: Worker) -> None:
        """Soon; later if it ended right after its start, because that fault will not go away by itself."""
        now = time.monotonic()
        if worker.restart_at is None:
            early = now - worker.started_at < _EARLY_S
            worker.restart_at = now + (_RESTART_EARLY_S if early else _RESTART_AFTER_S)
            self._say(f"the {worker.name} has {_ended(worker.process)}; restarting it")
        elif now >= worker.restart_at:
            self.workers[pool] = self._start_worker(pool)

    def _start_server(self) -> PrefectServer:
        return PrefectServer(
            self._directory / "prefect",
            port=self._port,
            reports=self._directory / "reports",
            databases=named_by(os.environ),
        )

    def _start_worker(self, pool: Pool) -> Worker:
        environment = {
            API_URL_VARIABLE: self.server.api_url,
            DIRECTORY_VARIABLE: str(self._directory / "reports"),
            URL_VARIABLE: self.server.reports_url,
        }
        return Worker(pool, self._directory, child_environment(**environment))


def _ended(process: Child) -> str:
    return f"ended (code {process.exit_code}, log {process.log})"

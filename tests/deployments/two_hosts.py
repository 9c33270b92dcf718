"""Two hosts with networks of their own, and Prefect on them."""

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.deploy import ROOT, deploy
from flows.server.databases import in_directory
from tests.deployments.prefect_api import Api
from tests.figa_core.training.nodes.namespaces import Node
from tests.flows.conftest import KEY, KEY_VARIABLE


class TwoHosts(Api):
    """Prefect as `docker/compose.yaml` starts it, on SQLite. The hosts share their disks unless a test mounts
    others. `environment` is that of all processes.
    """

    def __init__(self, nodes: tuple[Node, Node], directory: Path, **environment: str) -> None:
        super().__init__(f"http://{nodes[0].address}:4200")
        self.nodes, self._directory, self._environment = nodes, directory, environment
        self.requests = directory / "requests.jsonl"
        self._port_file = directory / "teacher-port"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        listen = ["--host", self.nodes[0].address, "--port", "4200"]
        self.start_process("server", 0, "prefect", "server", "start", *listen)
        log = ["--port-file", str(self._port_file), "--log", str(self.requests)]
        self.start_process("teacher", 0, "figa_core.sandbox.teacher", "--port", "0", *log)
        self.wait_for(lambda: self.get("/health") and self._port_file.exists(), 300)
        with temporary_settings({PREFECT_API_URL: self.api_url}):
            asyncio.run(deploy())
        self.start_worker("cpu", 0)

    def start_worker(self, pool: str, host: int, *, before: str = "true") -> None:
        """`before`: a shell line, in which mounts are the worker's own."""
        self.start_process(f"worker-{pool}", host, "deployments.worker", pool, before=before)
        self.wait_for(lambda: self.workers(pool), 300)

    @property
    def teacher_url(self) -> str:
        return f"http://127.0.0.1:{self._port_file.read_text()}/v1"  # on host 0

    def is_below(self, name: str, pid: int) -> bool:
        """Whether a process was started by another."""
        return self._processes[name].pid in [each.pid for each in psutil.Process(pid).parents()]

    def states_are_true(self, *runs: str) -> bool:
        """Whether each of these runs is Running if its process lives, and Completed if not."""
        found = [self.flow_run(run) for run in runs]
        return all(each["state_name"] == ("Running" if _lives(each) else "Completed") for each in found)

    def lose(self, name: str) -> None:
        """Kill a process and all below it, as at the end of its machine."""
        process = self._processes.pop(name)
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        process.kill()
        process.wait()

    def end(self) -> None:
        for name in reversed(list(self._processes)):
            self.lose(name)
        self.api.close()

    def story(self) -> str:
        return "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in self._directory.glob("*.log"))

    def start_process(self, name: str, host: int, module: str, *arguments: str, before: str = "true") -> None:
        """A module as a program on a host, until `lose` or `end`."""
        environment = {
            **os.environ,
            **in_directory(self._directory),
            "PREFECT_HOME": str(self._directory / f"host-{host}"),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            KEY_VARIABLE: KEY,
            **self._environment,
        }
        command = self.nodes[host].command(sys.executable, "-m", module, *arguments, before=before)
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
            )


def _lives(run: dict[str, Any]) -> bool:
    try:
        return psutil.Process(int(run["infrastructure_pid"])).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

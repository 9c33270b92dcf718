"""The services of docker/compose.yaml as processes on loopback: their commands, settings and health checks.

Only hosts and ports differ: what compose's network calls `postgres`, `redis` and `server` is on 127.0.0.1.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from tests.deployments.databases import PASSWORD, Databases
from tests.deployments.prefect_api import Api

FILE = Path(__file__).parents[2] / "docker" / "compose.yaml"
AUTH = "figa:another-password-that-must-appear-nowhere"
START_TIMEOUT_S = 600.0
_BOUND = ["setpriv", "--pdeathsig", "KILL"]


class Split(Api):
    """The Prefect server in its two parts, and workers."""

    def __init__(self, directory: Path, databases: Databases) -> None:
        self.directory, self._port = directory, _free_port()
        self._given = {"POSTGRES_PASSWORD": PASSWORD, "FIGA_AUTH": AUTH, "FIGA_IMAGE": "none"}
        self._given["FIGA_UI"] = f"http://127.0.0.1:{self._port}"
        self._elsewhere = {
            "@postgres:5432": f"@127.0.0.1:{databases.postgres.port}",
            "//redis:6379": f"//127.0.0.1:{databases.redis.port}",
            "//server:4200": f"//127.0.0.1:{self._port}",
        }
        self._services: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
        self._running: dict[str, Child] = {}
        super().__init__(f"http://127.0.0.1:{self._port}", AUTH)

    def start(self, service: str) -> None:
        """Start it, and wait until its health check passes, or, if it has none because it ends, for its end.

        Fails if it does not, with its log.
        """
        process = self._child(service)
        if self._services[service]["healthcheck"].get("disable"):
            process.wait_until(lambda: False, timeout_s=START_TIMEOUT_S)
            assert process.exit_code == 0, process.log_tail(30)
            return
        self._running[service] = process
        healthy = process.wait_until(lambda: self.healthy(service), timeout_s=START_TIMEOUT_S, poll_s=5.0)
        assert healthy, process.log_tail(30)

    def healthy(self, service: str) -> bool:
        """What its health check says, started as compose starts it."""
        kind, *command = self._services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        environment = self._environment_of(service)
        # The image's own address is port 4200 of its container.
        environment.setdefault("PREFECT_API_URL", self.api_url)
        done = subprocess.run(command, env=environment, cwd=self.directory, capture_output=True, timeout=60)
        return done.returncode == 0

    def check_alive(self) -> None:
        for service, process in self._running.items():
            assert process.exit_code is None, f"{service} has ended\n{process.log_tail(30)}"

    def story(self) -> str:
        return "\n".join(process.log_tail(15) for process in self._running.values())

    def stop(self) -> None:
        """End everything, the workers first, and what is left of them."""
        self.api.close()
        for process in reversed(self._running.values()):
            with contextlib.suppress(psutil.Error):
                family = [psutil.Process(process.pid)]
                family += family[0].children(recursive=True)
                family[0].terminate()
                for left in psutil.wait_procs(family, timeout=20)[1]:
                    with contextlib.suppress(psutil.Error):
                        left.kill()

    def _child(self, service: str) -> Child:
        here = {"0.0.0.0": "127.0.0.1", "4200": str(self._port)}
        command: list[str] = self._services[service]["command"]
        words = [here.get(word, word) for word in command]
        return Child(
            [*_BOUND, *words], self.directory / f"{service}.log", environment=self._environment_of(service)
        )

    def _environment_of(self, service: str) -> dict[str, str]:
        environment = {k: v for k, v in child_environment().items() if not k.startswith("PREFECT_")}
        environment |= {"PREFECT_HOME": str(self.directory / "home"), "OMP_NUM_THREADS": "1"}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        for name, value in self._services[service]["environment"].items():
            environment[name] = self._filled(str(value))
        return environment

    def _filled(self, value: str) -> str:
        """With what `docker/.env` would give, and with this machine's addresses."""

        def given(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            return self._given.get(name) or default

        filled = re.sub(r"\$\{([A-Z_]+):[?-]([^}]*)\}", given, value)
        for there, here in self._elsewhere.items():
            filled = filled.replace(there, here)
        return filled


@contextlib.contextmanager
def split(directory: Path, databases: Databases) -> Iterator[Split]:
    """Everything of the compose file but databases, GPU worker and vLLM, in the order of its `depends_on`."""
    started = Split(directory, databases)
    try:
        for service in ("migrate", "server", "services", "deploy", "worker-cpu"):
            started.start(service)
        yield started
    finally:
        started.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

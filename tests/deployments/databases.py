"""PostgreSQL and Redis as processes of their own on loopback, that a test may stop and start."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from figa_core.processes.child import Child
from flows.server.databases import DATABASE_VARIABLE, REDIS_VARIABLE

PASSWORD = "a-password-that-must-appear-nowhere"
_NEEDED = ("postgres", "initdb", "psql", "redis-server", "setpriv")
_BOUND = ["setpriv", "--pdeathsig", "KILL"]
"""What follows is killed with this process."""
_START_TIMEOUT_S = 120.0


def reason_against() -> str | None:
    """Why they cannot be started here; None if they can."""
    missing = [name for name in _NEEDED if _binary(name) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: apt-get install postgresql redis-server)"
    if find_spec("prefect_redis") is None:
        return "needs prefect-redis (pip install -r docker/cluster.lock.txt)"
    return None


@dataclass
class Service:
    """A database server."""

    command: list[str]
    log: Path
    port: int
    stop_signal: signal.Signals
    answers: Callable[[], bool]
    process: Child | None = None

    def start(self) -> None:
        self.process = Child(self.command, self.log)
        started = self.process.wait_until(self.answers, timeout_s=_START_TIMEOUT_S)
        assert started, self.process.log_tail(20)

    def stop(self) -> None:
        """End it, with its connections."""
        if self.process is not None and self.process.exit_code is None:
            os.kill(self.process.pid, self.stop_signal)
            assert self.process.wait_until(lambda: False, timeout_s=60) is False
            assert self.process.exit_code is not None, self.process.log_tail(20)

    def pause(self, seconds: float) -> None:
        """Be away for so long."""
        self.stop()
        time.sleep(seconds)
        self.start()


@dataclass(frozen=True)
class Databases:
    """Both, for one Prefect server."""

    postgres: Service
    redis: Service

    @property
    def environment(self) -> dict[str, str]:
        """What `make serve` needs to use them."""
        address = f"prefect:{PASSWORD}@127.0.0.1:{self.postgres.port}/prefect"
        return {
            DATABASE_VARIABLE: f"postgresql+asyncpg://{address}",
            REDIS_VARIABLE: f"redis://127.0.0.1:{self.redis.port}/0",
        }


@contextlib.contextmanager
def databases() -> Iterator[Databases]:
    """Empty ones while the block runs."""
    # PostgreSQL refuses to run as root, and its own user cannot enter pytest's directories.
    with tempfile.TemporaryDirectory(prefix="figa-databases-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        for each in (directory, directory.parent):
            each.chmod(each.stat().st_mode | 0o011)
        started = Databases(_postgres(directory), redis_at(directory))
        try:
            started.postgres.start()
            _query(started.postgres.port, "postgres", "CREATE DATABASE prefect")
            started.redis.start()
            yield started
        finally:
            started.redis.stop()
            started.postgres.stop()


def _postgres(directory: Path) -> Service:
    data, password, port = directory / "postgres", directory / "password", _free_port()
    data.mkdir()
    password.write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (data, password):
            shutil.chown(path, "postgres")
    how = ["--username", "prefect", "--pwfile", str(password), "--auth", "scram-sha-256", "--no-sync"]
    initdb = [*_as_postgres(), str(_binary("initdb")), "--pgdata", str(data), *how]
    subprocess.run(initdb, check=True, capture_output=True, timeout=120, cwd="/")
    # Without fsync: the tests end the server, not the machine.
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    command = [*_as_postgres(), str(_binary("postgres")), "-D", str(data)]
    for option, value in options.items():
        command += ["-c", f"{option}={value}"]
    return Service(
        command, directory / "postgres.log", port, signal.SIGINT, lambda: _query(port, "postgres", "SELECT 1")
    )


def redis_at(directory: Path) -> Service:
    """A Redis that keeps its data in `directory`."""
    port, data = _free_port(), directory / "redis"
    data.mkdir()
    command = [*_BOUND, str(_binary("redis-server")), "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--dir", str(data), "--save", "", "--appendonly", "yes"]
    return Service(command, directory / "redis.log", port, signal.SIGTERM, lambda: _pings(port))


def _pings(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _query(port: int, database: str, query: str) -> bool:
    """Whether PostgreSQL carries it out."""
    command = [
        str(_binary("psql")),
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-U",
        "prefect",
        "-c",
        query,
        database,
    ]
    environment = {**os.environ, "PGPASSWORD": PASSWORD}
    return subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode == 0


def _as_postgres() -> list[str]:
    user = ["--reuid", "postgres", "--regid", "postgres", "--init-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *user, *_BOUND[1:]]


def _binary(name: str) -> str | None:
    """Debian keeps the server's own programs of PostgreSQL out of PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return shutil.which(name) or next(
        (found for path in reversed(versions) if (found := shutil.which(name, path=str(path)))), None
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

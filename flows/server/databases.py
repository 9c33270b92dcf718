"""Where a Prefect server keeps its state: SQLite in a directory, or the databases that are configured.

`make serve` uses PostgreSQL if PREFECT_API_DATABASE_CONNECTION_URL names one, and Redis for events, leases
and background work if PREFECT_REDIS_MESSAGING_URL does. They hold passwords, so they are no options of a
command, which every user of the machine could read. `docker/compose.yaml` sets the same variables.
"""

import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from figa_core.errors import ConfigError

DATABASE_VARIABLE = "PREFECT_API_DATABASE_CONNECTION_URL"
REDIS_VARIABLE = "PREFECT_REDIS_MESSAGING_URL"

_SCHEMES = {DATABASE_VARIABLE: ("postgresql+asyncpg",), REDIS_VARIABLE: ("redis", "rediss")}
_EXAMPLES = {
    DATABASE_VARIABLE: "postgresql+asyncpg://USER:PASSWORD@HOST:5432/prefect",
    REDIS_VARIABLE: "redis://:PASSWORD@HOST:6379/0",
}
_PORTS = {"postgresql+asyncpg": 5432, "redis": 6379, "rediss": 6379}
_CONNECT_TIMEOUT_S = 10.0


def in_directory(directory: Path) -> dict[str, str]:
    """The settings of a server that keeps everything in `directory`."""
    return {
        DATABASE_VARIABLE: f"sqlite+aiosqlite:///{directory / 'prefect.db'}",
        # Prefect's default, memory, loses the runs' slots at a restart of the server, and Prefect then ends
        # those runs.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }


def on_redis(url: str) -> dict[str, str]:
    """The settings of a server that keeps in Redis whatever several of its processes share."""
    return {
        REDIS_VARIABLE: url,
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
        "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": url,
        "PREFECT_SERVER_DOCKET_URL": url,
    }


def named_by(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings for the databases that `environment` names; empty without any.

    Raises:
        ConfigError: an address is malformed, nothing answers there, or the package for Redis is missing.
    """
    named = {name: environment[name].strip() for name in _SCHEMES if environment.get(name, "").strip()}
    problems = [problem for name, url in named.items() if (problem := _problem(name, url))]
    if REDIS_VARIABLE in named and find_spec("prefect_redis") is None:
        problems.append(
            f"{REDIS_VARIABLE} is set, and the package prefect-redis is not installed. Install it: "
            "`.venv/bin/pip install -r docker/cluster.lock.txt`"
        )
    if problems:
        raise ConfigError("\n".join(problems))
    redis = on_redis(named[REDIS_VARIABLE]) if REDIS_VARIABLE in named else {}
    return {**redis, **named}


def shown(environment: Mapping[str, str]) -> list[str]:
    """A line about each database that `environment` names, without its password."""
    return [
        f"{what}: {parts.scheme.partition('+')[0]} at {_host(parts)}{parts.path}"
        for name, what in ((DATABASE_VARIABLE, "Database"), (REDIS_VARIABLE, "Messaging"))
        if (url := environment.get(name, "").strip()) and (parts := urlsplit(url))
    ]


def _problem(name: str, url: str) -> str | None:
    """In words without the address, which holds a password."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES[name] or not parts.hostname:
        return f"{name}: not an address like {_EXAMPLES[name]}; correct it, or unset it."
    try:
        socket.create_connection((parts.hostname, _port(parts)), _CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        return f"{name}: nothing answers at {_host(parts)} ({error}). Start it, or correct the address."
    return None


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _port(parts: SplitResult) -> int:
    """Raises ValueError if it is no number."""
    return parts.port or _PORTS[parts.scheme]

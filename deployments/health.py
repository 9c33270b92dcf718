"""Whether a container does its work, for health checks: exit code 0, or 1 with the reason.

    python -m deployments.health api             the Prefect API, and its database
    python -m deployments.health services        this container's background services of the Prefect server
    python -m deployments.health worker cpu      this machine's worker on a pool

Each asks where the work can be seen: a process that is only there may have lost its server long ago. It runs
every half minute, so it imports nothing of Prefect, which takes seconds.
"""

import argparse
import base64
import json
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Sequence
from typing import Any, cast

from figa_core.errors import FigaError, one_line
from flows.server.names import API_URL_VARIABLE, CPU_POOL, GPU_POOL, worker_name

_OWN_API = "http://127.0.0.1:4200/api"
_REDIS_VARIABLE = "PREFECT_SERVER_DOCKET_URL"
_TIMEOUT_S = 8.0
_SERVICES_QUEUES = ("prefect", "prefect-server")
"""The names under which Prefect's background services (its docket) take their tasks from Redis."""
_SILENT_AFTER_S = 30.0
"""They tell Redis every two seconds that they are there."""


def check_api(url: str) -> None:
    """Raises FigaError if the Prefect API at `url` does not answer, or has no database."""
    _ask(f"{url}/ready")


def check_worker(url: str, auth: str | None, pool: str) -> None:
    """Raises FigaError if the server has not heard from this machine's worker on `pool` lately.

    `auth` is "name:password", if the API wants it.
    """
    name = worker_name(pool)
    online = _ask(
        f"{url}/work_pools/{pool}/workers/filter", auth, {"workers": {"status": {"any_": ["ONLINE"]}}}
    )
    if name not in [worker["name"] for worker in online]:
        raise FigaError(f"the server at {url} has not heard from the worker {name!r} lately")


def check_services(redis_url: str | None, host: str, now: float) -> None:
    """Raises FigaError if no background services on `host` have told Redis lately that they run.

    `now` is in seconds since 1970.
    """
    from redis import Redis, RedisError

    if redis_url is None:
        raise FigaError(f"{_REDIS_VARIABLE} is not set: only services on Redis can be asked")
    seen = dict[str, float]()
    timeouts = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    try:
        with Redis.from_url(redis_url, decode_responses=True, **timeouts) as redis:
            for queue in _SERVICES_QUEUES:
                found = redis.zrange(f"{queue}:workers", 0, -1, withscores=True)
                seen |= cast("list[tuple[str, float]]", found)
    except (RedisError, OSError, ValueError) as error:
        raise FigaError(f"Redis does not answer: {one_line(error)}") from error
    latest = max((at for name, at in seen.items() if name.startswith(f"{host}#")), default=None)
    if latest is None or now - latest > _SILENT_AFTER_S:
        said = "never" if latest is None else f"{now - latest:.0f} s ago"
        raise FigaError(f"the background services of {host} last told Redis that they run: {said}")


def _ask(url: str, auth: str | None = None, body: object = None) -> Any:
    request = urllib.request.Request(url, headers={"Content-Type": "application/json"})
    if body is not None:
        request.data = json.dumps(body).encode()
    if auth:
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:  # also an HTTP status that says that something is wrong
        raise FigaError(f"{url}: {one_line(error)}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, and say what is wrong; 1 if something is."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.health", description="Whether a container does its work."
    )
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("api", help="the Prefect API, and its database")
    parts.add_parser("services", help="this container's background services of the Prefect server")
    worker = parts.add_parser("worker", help="this machine's worker on a pool")
    worker.add_argument("pool", choices=[CPU_POOL, GPU_POOL])
    options = parser.parse_args(arguments)
    url = os.environ.get(API_URL_VARIABLE, _OWN_API)
    try:
        if options.part == "api":
            check_api(url)
        elif options.part == "worker":
            check_worker(url, os.environ.get("PREFECT_API_AUTH_STRING"), options.pool)
        else:
            check_services(os.environ.get(_REDIS_VARIABLE), socket.gethostname(), time.time())
    except FigaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

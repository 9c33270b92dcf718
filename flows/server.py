"""A Prefect server of our own: a run's where none is configured, or that of `make serve`.

It dies with its starter.

Prefect's own ephemeral server is a plain child process that outlives a killed parent, and gives up after
twenty seconds, which a busy laptop needs to start it. This one runs the same application.

    python -m flows.server --port 4321      (only as a child)
"""

import argparse
import http.client
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from figa_core.errors import ConfigError, WorkspaceError
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment, die_with_parent

if TYPE_CHECKING:
    from fastapi import FastAPI

API_URL_VARIABLE = "PREFECT_API_URL"
_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.1
_REPORTS_ROUTE = "/reports"
_HEALTH_TIMEOUT_S = 20.0
_HEALTH_BYTES = 1000
_NEEDS_KEY = (401, 403)
_HOW = (
    "Start that server, correct the address, or unset it (also in the Prefect profile) to let the run start "
    "one of its own."
)


class PrefectServer:
    """Starts at once, is waited for when it is needed: the start takes 10 to 30 seconds.

    `process` is the server's process, for whoever watches over it.
    """

    def __init__(self, directory: Path, *, port: int | None = None, reports: Path | None = None) -> None:
        """`directory` keeps the server's database, so that a workspace keeps its history of runs.

        With a `port` it listens there instead of on any free one and has the UI; what is in `reports` is
        served under `reports_url`.

        Raises:
            WorkspaceError: the directory cannot be created, or the port is taken.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"{directory}: cannot create it for the Prefect server: {error.strerror or error}. "
                "Set workspace.path to a directory you may write to."
            ) from error
        self.directory = directory
        self._port = _free_port(port or 0)
        environment = child_environment(
            PREFECT_HOME=str(directory),
            PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{directory / 'prefect.db'}",
            PREFECT_UI_ENABLED=str(int(port is not None)),
            PREFECT_UI_API_URL=self.api_url,
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_LOGGING_SERVER_LEVEL="WARNING",
            # In memory, Prefect's default, the slots of runs are lost when the server starts anew, and the
            # runs are ended for it.
            PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE="prefect.server.concurrency.lease_storage.filesystem",
            DO_NOT_TRACK="1",
        )
        command = [sys.executable, "-m", "flows.server", "--port", str(self._port)]
        if reports is not None:
            reports.mkdir(parents=True, exist_ok=True)
            command += ["--reports", str(reports)]
        self.process = Child(command, directory / "server.log", environment=environment)

    @property
    def api_url(self) -> str:
        """What clients take as PREFECT_API_URL."""
        return f"{self.ui_url}/api"

    @property
    def ui_url(self) -> str:
        """Where a browser finds the UI."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def reports_url(self) -> str:
        """Where a browser finds the files in `reports`."""
        return f"{self.ui_url}{_REPORTS_ROUTE}"

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            WorkspaceError: it ended, or does not answer in three minutes; the message holds its last lines.
        """
        if not self.process.wait_until(self._answers, timeout_s=_START_TIMEOUT_S, poll_s=_POLL_S):
            raise WorkspaceError(
                f"the Prefect server did not start; its log is {self.process.log}. Start one yourself "
                f"(`prefect server start`) and set {API_URL_VARIABLE}. Last lines:\n"
                f"{self.process.last_words()}"
            )

    def stop(self) -> None:
        """End the server."""
        self.process.stop(_STOP_TIMEOUT_S)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=5) as response:
                return response.status == 200
        except (OSError, http.client.HTTPException):
            return False

    def __enter__(self) -> "PrefectServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def prefect_api(directory: Path) -> Iterator[PrefectServer | None]:
    """The API that flows of this process talk to: the configured one (then None), or our own server.

    Call `wait` on what comes back before the first flow runs.

    Raises:
        ConfigError: an API is configured, and nobody answers there, or no Prefect server that fits.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    configured = get_current_settings().api.url
    if configured is not None and configured.strip():  # an empty one is what scripts set for none
        _check_answers(configured)
        try:
            yield None
        finally:
            _drain()
        return
    before = os.environ.get(API_URL_VARIABLE)
    with PrefectServer(directory) as server:
        os.environ[API_URL_VARIABLE] = server.api_url
        refresh_global_settings_context()
        try:
            yield server
        finally:
            _drain()
            _set_environment(API_URL_VARIABLE, before)
            refresh_global_settings_context()


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _check_answers(api_url: str) -> None:
    """Raises ConfigError if nobody answers there, or somebody else than a Prefect server of this version."""
    _check_health(api_url)
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        try:
            client.raise_for_api_version_mismatch()
        except Exception as error:  # a RuntimeError about versions, or whatever a wrong server leads to
            raise ConfigError(f"{API_URL_VARIABLE} = {api_url}: {_in_one_line(error)}. {_HOW}") from error


def _check_health(api_url: str) -> None:
    """Without Prefect's client, which tries for minutes where nobody answers."""
    try:
        with urllib.request.urlopen(f"{api_url.rstrip('/')}/health", timeout=_HEALTH_TIMEOUT_S) as response:
            healthy = response.read(_HEALTH_BYTES).strip() == b"true"
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _NEEDS_KEY:
            return  # which Prefect's client has, if anybody
        raise ConfigError(_no_api(api_url, f"status {error.code}")) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ConfigError(
            f"{API_URL_VARIABLE} = {api_url}: nobody answers there ({_in_one_line(error)}). {_HOW}"
        ) from error
    if not healthy:
        raise ConfigError(_no_api(api_url, "its /health does not say true"))


def _in_one_line(error: Exception) -> str:
    if "401" in str(error) or "403" in str(error):
        return "it refuses the key; set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for Prefect Cloud"
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def _no_api(api_url: str, why: str) -> str:
    return (
        f"{API_URL_VARIABLE} = {api_url}: what answers there is no Prefect API ({why}); the address of one "
        f"ends in /api. {_HOW}"
    )


def _drain() -> None:
    """Send what Prefect's threads still have; at exit they would look for a stopped server for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.instance().drain()
    EventsWorker.drain_all()


def _free_port(port: int) -> int:
    """`port`, or any free one for 0."""
    with socket.socket() as probe:
        # As the server will: a port that a server has just left may be taken again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise WorkspaceError(
                f"port {port} is taken ({error.strerror}): another server runs there. Stop it, or take "
                "another port: make serve PORT=4201"
            ) from error
        return probe.getsockname()[1]


def _application(reports: Path | None) -> "FastAPI":
    from prefect.server.api.server import create_app

    application = create_app()
    if reports is not None:
        from starlette.routing import Mount
        from starlette.staticfiles import StaticFiles

        # Before the UI, which answers every path that is left.
        application.router.routes.insert(0, Mount(_REPORTS_ROUTE, StaticFiles(directory=reports)))
    return application


def _serve(port: int, reports: Path | None) -> None:
    import uvicorn

    uvicorn.run(
        _application(reports),
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    die_with_parent()
    parser = argparse.ArgumentParser(prog="flows.server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--reports", type=Path)
    options = parser.parse_args()
    _serve(options.port, options.reports)

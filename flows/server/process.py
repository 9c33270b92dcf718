"""Our own Prefect server: for a run without a configured one, and for `make serve`.

It dies with the process that starts it. Prefect's ephemeral server would outlive a killed parent, and gives
up after twenty seconds, which a busy laptop needs to start it.
"""

import http.client
import socket
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from figa_core.errors import WorkspaceError
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from flows.server.databases import in_directory
from flows.server.names import API_URL_VARIABLE, REPORTS_ROUTE

_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.1
_AWAITED_KEPT = "P7D"
"""How long the server keeps what its automations wait for after the time is up (ISO 8601). By the default
of a minute, a run that dies while the server is away for longer would never leave the state Running."""


class PrefectServer:
    """Starts in the background; call `wait` before using it, because the start takes 10 to 30 seconds."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        reports: Path | None = None,
        databases: Mapping[str, str] | None = None,
    ) -> None:
        """`directory` keeps the server's database, and so the history of a workspace's runs.

        With a `port` it listens there instead of on any free port, and has the UI; the files in `reports` are
        served at `reports_url`. `databases`: settings that replace those of `databases.in_directory`.

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
            PREFECT_UI_ENABLED=str(int(port is not None)),
            PREFECT_UI_API_URL=self.api_url,
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER=_AWAITED_KEPT,
            PREFECT_LOGGING_SERVER_LEVEL="WARNING",
            DO_NOT_TRACK="1",
            **{**in_directory(directory), **(databases or {})},
        )
        command = [sys.executable, "-m", "flows.server", "--port", str(self._port)]
        if reports is not None:
            reports.mkdir(parents=True, exist_ok=True)
            command += ["--reports", str(reports)]
        self.process = Child(command, directory / "server.log", environment=environment)

    @property
    def api_url(self) -> str:
        """The value of PREFECT_API_URL for clients."""
        return f"{self.ui_url}/api"

    @property
    def ui_url(self) -> str:
        """The address of the UI for a browser."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def reports_url(self) -> str:
        """The address of the files in `reports` for a browser."""
        return f"{self.ui_url}{REPORTS_ROUTE}"

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            WorkspaceError: it ended, or does not answer within three minutes; the message includes the end of
                its log.
        """
        if not self.process.wait_until(self._answers, timeout_s=_START_TIMEOUT_S, poll_s=_POLL_S):
            raise WorkspaceError(
                f"the Prefect server did not start; its log is {self.process.log}. Start one yourself "
                f"(`prefect server start`) and set {API_URL_VARIABLE}. Last lines:\n"
                f"{self.process.log_tail()}"
            )

    def stop(self) -> None:
        self.process.stop(_STOP_TIMEOUT_S)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=5) as response:
                return response.status == 200
        except (OSError, http.client.HTTPException):
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port(port: int) -> int:
    """`port`, or any free one for 0."""
    with socket.socket() as probe:
        # Like the server, so that a port that a server has just left can be used again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise WorkspaceError(
                f"port {port} is taken ({error.strerror}): another server runs there. Stop it, or choose "
                "another port: make serve PORT=4201"
            ) from error
        return probe.getsockname()[1]

"""The Prefect API that the flows of this process use: the configured one, or our own server."""

import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from figa_core.errors import ConfigError, one_line
from flows.progress import Progress
from flows.server.names import API_URL_VARIABLE
from flows.server.process import PrefectServer

_HEALTH_TIMEOUT_S = 20.0
_KEY_REFUSED = (401, 403)
_ADVICE = (
    "Start that server, correct the address, or unset it (also in the Prefect profile) to let the run start "
    "its own."
)


@contextmanager
def prefect_api(directory: Path) -> Iterator[PrefectServer | None]:
    """Point the flows of this process at the configured API (yields None) or at our own new server.

    Call `wait_until_ready` before the first flow runs. `directory` keeps our own server's database.

    Raises:
        ConfigError: an API is configured, but no Prefect server of this version answers there.
    """
    from prefect.context import refresh_global_settings_context

    configured = configured_url()
    if configured is not None:
        check_answers(configured, _ADVICE)
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
            os.environ.pop(API_URL_VARIABLE)
            if before is not None:
                os.environ[API_URL_VARIABLE] = before
            refresh_global_settings_context()


def wait_until_ready(server: PrefectServer | None, progress: Progress) -> None:
    """Wait for our own server to answer, if there is one; raises WorkspaceError if it does not start."""
    if server is not None:
        with progress.waiting("starting a Prefect server"):
            server.wait()


def configured_url() -> str | None:
    """The configured address of an API. Some scripts set an empty one to have none."""
    from prefect.settings import get_current_settings

    return (get_current_settings().api.url or "").strip() or None


def check_answers(api_url: str, advice: str) -> None:
    """Raises ConfigError, ending in `advice`, if no Prefect server of this version answers there."""
    problem = _health_problem(api_url) or _version_problem()
    if problem is not None:
        raise ConfigError(f"{API_URL_VARIABLE} = {api_url}: {problem}. {advice}")


def _health_problem(api_url: str) -> str | None:
    """Without Prefect's client, which retries for minutes if nothing answers."""
    try:
        with urllib.request.urlopen(f"{api_url.rstrip('/')}/health", timeout=_HEALTH_TIMEOUT_S) as response:
            healthy = response.read(1000).strip() == b"true"
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _KEY_REFUSED:
            return None  # Prefect's client may have the key
        return _no_api(f"status {error.code}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLError):
            return None  # Prefect's client may trust the certificate
        return f"nothing answers there ({one_line(error)[:200]})"
    return None if healthy else _no_api("its /health does not return true")


def _version_problem() -> str | None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        try:
            client.raise_for_api_version_mismatch()
        except Exception as error:  # a RuntimeError about versions, or anything that a wrong server causes
            cause = error.__cause__ or error
            if getattr(getattr(cause, "response", None), "status_code", None) in _KEY_REFUSED:
                return "it refuses the key; set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for Prefect Cloud"
            why = "" if cause is error else f" ({one_line(cause)[:200]})"
            return f"{one_line(error)[:200]}{why}"
    return None


def _no_api(why: str) -> str:
    return f"what answers there is no Prefect API ({why}); the address of one ends in /api"


def _drain() -> None:
    """Send what Prefect's threads still hold: at exit they would try a stopped server for a minute."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all()  # the log worker, too: Prefect keeps all such workers in one list

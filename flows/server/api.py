"""The Prefect API that flows of this process talk to: the configured one, or a server of our own."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from figa_core.errors import ConfigError, one_line
from flows.server.names import API_URL_VARIABLE
from flows.server.process import PrefectServer

_HEALTH_TIMEOUT_S = 20.0
_HEALTH_BYTES = 1000
_NEEDS_KEY = (401, 403)
_HOW = (
    "Start that server, correct the address, or unset it (also in the Prefect profile) to let the run start "
    "one of its own."
)


@contextmanager
def prefect_api(directory: Path) -> Iterator[PrefectServer | None]:
    """The API that flows of this process talk to: the configured one (then None), or our own server.

    Call `wait` on the server before the first flow runs.

    Raises:
        ConfigError: an API is configured, but nothing or no Prefect server of this version answers there.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    configured = get_current_settings().api.url
    if configured is not None and configured.strip():  # scripts set an empty one for none
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
    """Raises ConfigError if nothing answers there, or not a Prefect server of this version."""
    _check_health(api_url)
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        try:
            client.raise_for_api_version_mismatch()
        except Exception as error:  # a RuntimeError about versions, or anything that a wrong server causes
            raise ConfigError(f"{API_URL_VARIABLE} = {api_url}: {_in_one_line(error)}. {_HOW}") from error


def _check_health(api_url: str) -> None:
    """Without Prefect's client, which retries for minutes if nothing answers."""
    try:
        with urllib.request.urlopen(f"{api_url.rstrip('/')}/health", timeout=_HEALTH_TIMEOUT_S) as response:
            healthy = response.read(_HEALTH_BYTES).strip() == b"true"
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _NEEDS_KEY:
            return  # Prefect's client may have it
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
    return one_line(error)[:200]


def _no_api(api_url: str, why: str) -> str:
    return (
        f"{API_URL_VARIABLE} = {api_url}: what answers there is no Prefect API ({why}); the address of one "
        f"ends in /api. {_HOW}"
    )


def _drain() -> None:
    """Send what Prefect's threads still hold: at exit they would try a stopped server for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.instance().drain()
    EventsWorker.drain_all()

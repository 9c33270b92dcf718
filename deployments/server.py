"""The configured Prefect server, which every command about deployments needs."""

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import get_current_settings

from figa_core.errors import ConfigError

_HOW = (
    "Start one with `make serve`, which says what to put into PREFECT_API_URL, or name yours there "
    "(such as http://127.0.0.1:4200/api)."
)


def configured_client() -> PrefectClient:
    """A client, to be opened, of the server that PREFECT_API_URL names.

    Raises:
        ConfigError: no server is named.
    """
    if get_current_settings().api.url is None:
        raise ConfigError(f"PREFECT_API_URL is not set, so there is no Prefect server to ask. {_HOW}")
    return get_client()


async def check_answers(client: PrefectClient) -> None:
    """Raises ConfigError if nothing, or no Prefect server, answers at the client's address."""
    try:
        response = await client.hello()
    except httpx.HTTPError as error:
        raise ConfigError(f"PREFECT_API_URL = {client.api_url}: {_reason(error)}. {_HOW}") from error
    if response.status_code != httpx.codes.OK:
        raise ConfigError(
            f"PREFECT_API_URL = {client.api_url}: what answers there is no Prefect API (status "
            f"{response.status_code}); its address ends in /api. {_HOW}"
        )


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"what answers there is no Prefect API (status {error.response.status_code})"
    return f"nobody answers there ({error or type(error).__name__})"

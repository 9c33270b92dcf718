"""The configured Prefect server, which every command in this package needs."""

from figa_core.errors import ConfigError
from flows.server.api import check_answers, configured_url
from flows.server.names import API_URL_VARIABLE

_ADVICE = (
    f"Start a server with `make serve`, and set {API_URL_VARIABLE} to its address (such as "
    "http://127.0.0.1:4200/api) or to the address of another server."
)


def require_server() -> str:
    """The API address of the configured server, which answers.

    Raises:
        ConfigError: no server is configured, or no Prefect server answers there.
    """
    url = configured_url()
    if url is None:
        raise ConfigError(f"{API_URL_VARIABLE} is not set, so there is no Prefect server to use. {_ADVICE}")
    check_answers(url, _ADVICE)
    return url

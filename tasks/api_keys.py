"""The API key of a section of the settings: from the environment, or from a Prefect Secret block.

It is read each time an endpoint is opened, so a key that was renewed in the block counts for the next run and
for a retry, without a deployment or a restart of the workers.
"""

import os
from typing import Protocol

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from figa_core.errors import ConfigError, one_line
from figa_core.llm.key import usable_key


class NamesAKey(Protocol):
    """A section with the names of an environment variable and of a Secret block; the block comes first."""

    @property
    def api_key_env(self) -> str | None: ...
    @property
    def api_key_secret(self) -> str | None: ...


def names_a_key(config: NamesAKey) -> bool:
    """Whether the section names a key."""
    return (config.api_key_secret or config.api_key_env) is not None


def api_key_of(config: NamesAKey, section: str) -> str:
    """The key that the section names; raises ConfigError if it is missing or not a key."""
    if config.api_key_secret is not None:
        setting = f"{section}.api_key_secret"
        found = secret_value(config.api_key_secret, setting)
        return usable_key(found, f"the Prefect Secret block {config.api_key_secret}", setting)
    variable = config.api_key_env or ""
    found = os.environ.get(variable, "")
    return usable_key(found, f"the environment variable {variable}", f"{section}.api_key_env")


def secret_value(block: str, setting: str) -> str:
    """The text of a Secret block on the configured Prefect server; `setting` names it in errors.

    Raises:
        ConfigError: there is no server, no such block, or it holds no text. No message contains the value.
    """
    url = (get_current_settings().api.url or "").strip()
    if not url:
        raise ConfigError(
            f"{setting}: the block {block} lies on a Prefect server, and PREFECT_API_URL is not set. Set it "
            "to the server's address, or name an environment variable instead."
        )
    try:
        with get_client(sync_client=True) as client:
            found = client.read_block_document_by_name(block, "secret", include_secrets=True)
    except ObjectNotFound:
        raise ConfigError(
            f"{setting}: there is no Secret block {block} on the Prefect server at {url}. Create it in the "
            "UI (Blocks, Secret), or correct the name."
        ) from None
    except httpx.HTTPError as error:
        raise ConfigError(
            f"{setting}: the Prefect server at {url} does not give the block {block}: "
            f"{one_line(error)[:200]}."
        ) from error
    value = found.data.get("value")
    if not isinstance(value, str):
        raise ConfigError(f"{setting}: the Prefect Secret block {block} holds no text. Store the key alone.")
    return value

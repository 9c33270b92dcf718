"""Whether the code that runs here is the version that made the deployments on the Prefect server."""

import socket
from importlib.metadata import version

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from figa_core.errors import ConfigError
from flows.server.names import VERSION_VARIABLE


def own_version() -> str:
    """The version of this package."""
    return version("figa")


def deployed_version() -> str | None:
    """The version that made the deployments on the server; None if an earlier one did, or nobody."""
    with get_client(sync_client=True) as client:
        found = client.read_variable_by_name(VERSION_VARIABLE)
    return None if found is None else str(found.value)


async def save_variable(client: PrefectClient, name: str, value: str) -> None:
    """Set a Prefect variable. `Variable.aset` does the same and leaves a connection open."""
    if await client.read_variable_by_name(name) is None:
        await client.create_variable(VariableCreate(name=name, value=value))
    else:
        await client.update_variable(VariableUpdate(name=name, value=value))


def check_version() -> None:
    """Raises ConfigError if the deployments were made by another version than runs here."""
    own, deployed = own_version(), deployed_version()
    if deployed not in (None, own):
        raise ConfigError(another_version(own, deployed, socket.gethostname()))


def another_version(own: str, deployed: str | None, host: str) -> str:
    """What is wrong and what to do if a host has another version than the deployments."""
    return (
        f"figa {own} runs on {host}, and the deployments on this Prefect server were made by figa "
        f"{deployed}: one run by two versions would mix their results. Install figa {deployed} there and "
        f"start its workers again; or, once all machines have figa {own}, deploy that: `python -m "
        "deployments.deploy`."
    )

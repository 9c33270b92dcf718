"""Whether the code that runs here is the version that made the deployments on the Prefect server.

Another version is refused. Other code of the same version (another commit, an edit) is only said: whoever
works on the code has it changed between two runs.
"""

import socket
from functools import cache
from importlib.metadata import version
from pathlib import Path

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from figa_core.code_hash import code_hash
from figa_core.errors import ConfigError
from flows.server.names import CODE_VARIABLE, VERSION_VARIABLE


def own_version() -> str:
    """The version of this package."""
    return version("figa")


@cache
def own_code() -> str:
    """A hash of this package's code, but for what deploys it."""
    root = Path(__file__).resolve().parents[2]
    return code_hash(root / package for package in ("figa_core", "tasks", "flows"))


def deployed_version() -> str | None:
    """The version that made the deployments on the server; None if an earlier one did, or nobody."""
    return _variable(VERSION_VARIABLE)


def _variable(name: str) -> str | None:
    with get_client(sync_client=True) as client:
        found = client.read_variable_by_name(name)
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


def about_code() -> str | None:
    """A line if the deployments were made by other code of the same version; None if they tell no code."""
    deployed = _variable(CODE_VARIABLE)
    return None if deployed in (None, own_code()) else other_code(own_code(), deployed, socket.gethostname())


def other_code(own: str, deployed: str | None, host: str) -> str:
    """What is wrong and what to do if a host has other code of the same version than the deployments."""
    return (
        f"the code on {host} (hash {own}) is not that of the deployments ({deployed}), although both are "
        f"figa {own_version()}: another commit, or edited. Results of the two may not be comparable. Install "
        "the same code everywhere, then deploy that: `python -m deployments.deploy`."
    )


def another_version(own: str, deployed: str | None, host: str) -> str:
    """What is wrong and what to do if a host has another version than the deployments."""
    return (
        f"figa {own} runs on {host}, and the deployments on this Prefect server were made by figa "
        f"{deployed}: one run by two versions would mix their results. Install figa {deployed} there and "
        f"start its workers again; or, once all machines have figa {own}, deploy that: `python -m "
        "deployments.deploy`."
    )

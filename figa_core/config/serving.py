"""`[generation.serving]`: where the servers are that a run starts for itself."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from figa_core.config.decisions import nothing
from figa_core.config.section import Section

_HOST = re.compile(r"[A-Za-z0-9.:_-]+")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9.:_-]|\{host\})+")


def _host(text: str) -> str:
    if not _HOST.fullmatch(text.strip()):
        raise ValueError('give an address of the machine alone, such as "0.0.0.0" or "10.0.0.5"')
    return text.strip()


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text.strip()):
        raise ValueError(
            'give a name or address without http:// and port, such as "gpu1", "10.0.0.5" or "{host}.example"'
        )
    return text.strip()


class ServingConfig(Section):
    """Where a run's own servers are (`generation.server.managed`). None of it changes what is drawn."""

    pool: bool = nothing(
        False, 'They run on the pool "gpu", as runs of serve-model; otherwise on the machine of the run.'
    )
    listen: Annotated[str, AfterValidator(_host)] = nothing(
        "127.0.0.1",
        "Address on which those of the pool listen; with 127.0.0.1 only a run on their own machine reaches "
        "them. 0.0.0.0 for all of the machine's.",
    )
    address: Annotated[str, AfterValidator(_address)] | None = nothing(
        None,
        'Their machine, as the run reaches it; "{host}" in it is the machine\'s name. "none": the address on '
        "which they listen, or that of the default route if they listen on all.",
    )
    port: Annotated[int, Field(ge=1, le=65_279)] | None = nothing(
        None, 'Port of the first copy; further copies take the next ones. "none" for free ports.'
    )

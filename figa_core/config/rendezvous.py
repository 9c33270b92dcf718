"""`[training.rendezvous]`: where and how long the nodes of a training wait for one another."""

import re
from typing import Annotated

from pydantic import AfterValidator

from figa_core.config.decisions import nothing
from figa_core.config.section import Section

_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")
_PORT_MAX = 2**16 - 1


def host_and_port(address: str) -> tuple[str, int]:
    """Such as ("gpu1", 29500); an IPv6 address is in brackets, which are not part of the host.

    Raises:
        ValueError: it is not of this form.
    """
    found = _ADDRESS.fullmatch(address.strip())
    if not found or not 0 < int(found["port"]) <= _PORT_MAX:
        raise ValueError(f'give "host:port" with a port from 1 to {_PORT_MAX}, such as "gpu1:29500"')
    return found["host"].strip("[]"), int(found["port"])


def _checked(address: str) -> str:
    host_and_port(address)
    return address.strip()


class RendezvousConfig(Section):
    """Where the nodes of a training meet; only used if there are several."""

    address: Annotated[str, AfterValidator(_checked)] | None = nothing(
        None,
        'host:port of node 0, as the other nodes reach it; "none": its address on the default route, and a '
        "free port.",
    )
    wait_s: float = nothing(
        900.0, "Seconds that a node waits for the others before it gives up.", ge=1, le=86_400
    )

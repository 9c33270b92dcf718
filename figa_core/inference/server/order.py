"""What is to be served, and where servers listen; the same for servers of this machine and of others."""

from dataclasses import dataclass, field
from pathlib import Path

from figa_core.inference.copies import Copies

LOOPBACK = "127.0.0.1"
OWN_NAME = "{host}"
"""In an address: the name of the machine that has the servers."""


@dataclass(frozen=True, slots=True)
class Order:
    """Servers of one base model and its adapters.

    Attributes:
        base: directory of a whole model.
        name: under which they serve it.
        key: that requests must have.
        max_length: the most tokens of a row.
        gpu_memory_share: of each GPU.
        copies: of the model; each is a server.
        lora_rank: the largest rank of adapters that can be loaded into them; None for none.
    """

    base: Path
    name: str
    key: str = field(repr=False)
    max_length: int
    gpu_memory_share: float
    copies: Copies
    lora_rank: int | None


@dataclass(frozen=True, slots=True)
class Listening:
    """Where servers listen, and how a run on another machine reaches them.

    Attributes:
        host: address to listen on; "0.0.0.0" for all of the machine's.
        address: of the machine, as the run reaches it; `OWN_NAME` in it is replaced. None: `host`, or the
            machine's address on its default route if it listens on all.
        port: of the first copy, the next ones for others; None for free ones.
    """

    host: str = LOOPBACK
    address: str | None = None
    port: int | None = None


ON_LOOPBACK = Listening()


def url_of(host: str, port: int) -> str:
    """The address of a server; IPv6 in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

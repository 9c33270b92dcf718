"""This machine's addresses, as the other nodes of a training reach them."""

import socket

import psutil

from figa_core.errors import TrainingError

_ANYWHERE = "192.0.2.1"  # reserved for documentation: only the route to it is looked up, nothing is sent
_PROBE_S = 2.0


def own_address() -> str:
    """The address on the default route; without one, the first that is not loopback.

    Raises:
        TrainingError: there is none.
    """
    try:
        return address_towards(_ANYWHERE)
    except OSError:
        pass
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    for name, addresses in psutil.net_if_addrs().items():
        for each in addresses:
            if name in up and each.family == socket.AF_INET and not _is_loopback(each.address):
                return each.address
    raise TrainingError(
        "this machine has no address that another node could reach. Connect it to a network, or set "
        "training.nodes to 1."
    )


def address_towards(host: str, port: int = 1) -> str:
    """The local address of packets to `host`. Raises OSError if it is not known or there is no route."""
    family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(target)
        return probe.getsockname()[0]


def interface_of(address: str) -> str | None:
    """The name of the interface with this address, such as "eth0"."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address.partition("%")[0] == address for each in addresses):
            return name
    return None


def check_reachable(host: str) -> None:
    """Raises TrainingError if node 0 cannot be reached by others at `host`, as far as node 0 can tell."""
    try:
        address = address_towards(host)
    except OSError as error:
        raise TrainingError(
            f"training.rendezvous.address: {host} is not known on this machine ({error.strerror or error}). "
            'Give an address of node 0 that every node reaches, or "none" to let it be found.'
        ) from error
    if _is_loopback(address):
        raise TrainingError(
            f"training.rendezvous.address: {host} is {address} on this machine, which no other node reaches. "
            "Give its address on the network of the nodes."
        )
    if interface_of(address) is None or not _is_local(host, address):
        raise TrainingError(
            f"training.rendezvous.address: {host} is not an address of this machine, which is node 0 of the "
            "training. Start the training on that machine, or give an address of this one."
        )


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def answers(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=_PROBE_S):
            return True
    except OSError:
        return False


def _is_local(host: str, address: str) -> bool:
    """A packet from this machine to itself has the same source and destination."""
    return address in {found[4][0] for found in socket.getaddrinfo(host, None)}


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"

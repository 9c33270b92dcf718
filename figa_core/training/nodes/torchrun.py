"""How torchrun is started on a node."""

from collections.abc import Sequence
from dataclasses import dataclass

from figa_core.config.rendezvous import host_and_port
from figa_core.config.training import TrainingConfig
from figa_core.errors import TrainingError
from figa_core.training.nodes.addresses import address_towards


@dataclass(frozen=True, slots=True)
class TorchrunMeeting:
    """`torchrun`: its arguments about where the nodes meet."""

    torchrun: Sequence[str]
    address: str = ""
    nodes: int = 1
    wait_s: float = 0.0

    def missed(self, error: Exception) -> TrainingError:
        """The error to report when the nodes did not meet."""
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        return TrainingError(
            f"not all of the {self.nodes} nodes came to {self.address} within {self.wait_s:.0f} s (training."
            f"rendezvous.wait_s): {reason}. See that each runs, that node 0 has this address, and that no "
            "firewall closes the port."
        )


ALONE = TorchrunMeeting(("--standalone", "--local-addr=127.0.0.1"))
"""All ranks are on one machine and talk over loopback."""


def meeting_of(training: TrainingConfig, node: int, meet: str | None, attempt: str) -> TorchrunMeeting:
    """That of a node; `meet` is host:port of node 0.

    Raises:
        TrainingError: the address is missing or cannot be reached, or there is no such node.
    """
    nodes = training.nodes
    if nodes == 1:
        return ALONE
    if meet is None or not 0 <= node < nodes:
        raise TrainingError(
            f"a training of {nodes} nodes has no node {node} that meets the others at {meet}."
        )
    host, port = host_and_port(meet)
    try:
        own = address_towards(host, port)
    except OSError as error:
        raise TrainingError(
            f"node 0 cannot be reached at {meet} from here: {error.strerror or error}."
        ) from error
    wait_s = training.rendezvous.wait_s
    arguments = (
        f"--nnodes={nodes}",
        f"--node-rank={node}",
        f"--master-addr={host}",
        f"--master-port={port}",
        f"--rdzv-id={attempt}",
        f"--rdzv-conf=timeout={round(wait_s)}",
        f"--local-addr={own}",
    )
    return TorchrunMeeting(arguments, meet, nodes, wait_s)

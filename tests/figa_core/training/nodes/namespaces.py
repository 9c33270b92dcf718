"""Two nodes on one machine: network namespaces with an address and a host name each, on one bridge."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

NETWORK = "10.231.77"
HOST = f"{NETWORK}.1"
"""The address of this machine on the bridge."""


@dataclass(frozen=True)
class Node:
    """One of them; `link` is its cable to the bridge."""

    number: int
    namespace: str
    link: str

    @property
    def address(self) -> str:
        return f"{NETWORK}.{10 + self.number}"

    @property
    def host(self) -> str:
        return f"test-node-{self.number}"

    def command(self, *command: str, before: str = "true") -> list[str]:
        """The command, to be run on this node after a shell line, in which mounts are the node's own.

        It is killed with this process, because a node that waits for node 0 would outlive a killed test.
        """
        script = f'hostname {self.host} && {before} && exec "$@"'
        inside = ["unshare", "--uts", "sh", "-c", script, "sh"]
        bound = ["setpriv", "--pdeathsig", "KILL"]  # each of these commands becomes the next
        return [*bound, "ip", "netns", "exec", self.namespace, *inside, *command]

    def unplug(self) -> None:
        _run("ip", "link", "set", self.link, "down")

    def plug_in(self) -> None:
        _run("ip", "link", "set", self.link, "up")


def reason_against() -> str | None:
    """Why this machine cannot have such nodes; None if it can."""
    missing = [name for name in ("ip", "unshare", "setpriv", "hostname") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    try:
        with two_nodes():
            return None
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted: {error.stderr.strip()}"


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[Node, Node]]:
    """Raises CalledProcessError if this is not permitted."""
    mine = os.getpid() % 100_000  # names of links have at most 15 characters
    bridge = f"figab{mine}"
    nodes = tuple(Node(n, f"figa-{mine}-{n}", f"figav{mine}-{n}") for n in (0, 1))
    with contextlib.ExitStack() as stack:
        _run("ip", "link", "add", bridge, "type", "bridge")
        stack.callback(_run, "ip", "link", "del", bridge)
        _run("ip", "addr", "add", f"{HOST}/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for node in nodes:
            _run("ip", "netns", "add", node.namespace)
            stack.callback(_run, "ip", "netns", "del", node.namespace)
            peer = ("peer", "name", "eth0", "netns", node.namespace)
            _run("ip", "link", "add", node.link, "type", "veth", *peer)
            # Without this it vanishes some time after its namespace, and the next one may not have its name.
            stack.callback(_run, "ip", "link", "del", node.link)
            _run("ip", "link", "set", node.link, "master", bridge, "up")
            inside = ("ip", "-n", node.namespace)
            _run(*inside, "addr", "add", f"{node.address}/24", "dev", "eth0")
            _run(*inside, "link", "set", "eth0", "up")
            _run(*inside, "link", "set", "lo", "up")
        yield nodes[0], nodes[1]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)

"""A TCP connection between two ranks that carries JSON objects, one a line."""

import contextlib
import json
import socket
import threading
from typing import Any

DEAD_AFTER_S = 20
"""A machine or network that does not answer for so long counts as gone. A process that ends is noticed at
once: the kernel closes its connections.
"""

_PROBES = 4


class Line:
    """One end of a connection. The kernel, not Python, asks whether the other end is alive: a thread of a
    rank may wait for seconds while its main thread loads a model.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        every = DEAD_AFTER_S // _PROBES
        options = {
            "TCP_KEEPIDLE": every,
            "TCP_KEEPINTVL": every,
            "TCP_KEEPCNT": _PROBES - 1,
            "TCP_USER_TIMEOUT": DEAD_AFTER_S * 1000,  # the same for data that was sent
        }
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._connection, self._file, self._lock = connection, connection.makefile("rb"), threading.Lock()

    def send(self, **message: Any) -> bool:
        """Whether it could be handed to the network; if the other end is gone, `receive` says so."""
        try:
            with self._lock:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next object; None if the other end is gone, or says nothing for so long."""
        try:
            self._connection.settimeout(timeout_s)
            found = json.loads(self._file.readline())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def close(self) -> None:
        """Close this end; a thread that waits in `receive` gets None."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._file.close()
        self._connection.close()


def listen() -> socket.socket:
    """A socket that listens on all addresses of this machine, at a free port."""
    with contextlib.suppress(OSError):
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def call(host: str, port: int, timeout_s: float) -> Line:
    """A connection to a socket that listens. Raises OSError."""
    return Line(socket.create_connection((host, port), timeout=timeout_s))

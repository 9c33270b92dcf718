"""A store's server that misbehaves at the transport: between a client and moto's server, byte by byte.

What a client sends is passed on, and so is the answer, unless a fault is due for the request.
"""

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from urllib.parse import urlsplit

_METHODS = (b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ")
_PIECE = 2**16


class Fault(Enum):
    """What happens to a request."""

    SLOW_DOWN = auto()
    """The answer is 503, as of a store that is overloaded."""
    RESET = auto()
    """The connection is broken off before an answer."""
    CUT = auto()
    """The connection is broken off in the middle of the answer."""
    EXPIRED = auto()
    """The answer is that the credentials have expired."""
    SKEWED = auto()
    """The answer is that the client's clock is wrong."""


_ERROR = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b"<Error><Code>%s</Code><Message>%s</Message><RequestId>1</RequestId></Error>"
)
_BODIES = {
    Fault.SLOW_DOWN: (b"503 Slow Down", _ERROR % (b"SlowDown", b"Please reduce your request rate.")),
    Fault.EXPIRED: (b"403 Forbidden", _ERROR % (b"ExpiredToken", b"The provided token has expired.")),
    Fault.SKEWED: (b"403 Forbidden", _ERROR % (b"RequestTimeTooSkewed", b"The difference is too large.")),
}


class Misbehaving:
    """A server of faults. A test sets what is due.

    Attributes:
        due: faults of the next requests, one each.
        away: whether every connection is broken off.
        fault_of: asked for each request, with its head, once nothing is due; None for no fault.
        requests: the first line of each request that came, whether or not it was answered.
    """

    def __init__(self, server: str) -> None:
        address = urlsplit(server)
        self._server = (str(address.hostname), int(address.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.due: deque[Fault] = deque()
        self.away = False
        self.fault_of: Callable[[bytes], Fault | None] = lambda _: None
        self.requests: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def listen(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        cut = threading.Event()
        with suppress(OSError), client, socket.create_connection(self._server) as server:
            threading.Thread(target=_answer, args=(server, client, cut), daemon=True).start()
            while piece := client.recv(_PIECE):
                if self.away:
                    _reset(client)
                    return
                fault = self._fault(piece) if piece.startswith(_METHODS) else None
                if fault is Fault.RESET:
                    _reset(client)
                    return
                if fault in _BODIES:
                    status, body = _BODIES[fault]
                    body = b"" if piece.startswith(b"HEAD ") else body
                    head = b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nConnection: close\r\n" % status
                    client.sendall(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(_PIECE):  # what is still sent must not reset the answer
                        pass
                    return
                if fault is Fault.CUT:
                    cut.set()
                server.sendall(piece)

    def _fault(self, head: bytes) -> Fault | None:
        self.requests.append(head.partition(b"\r\n")[0].decode())
        return self.due.popleft() if self.due else self.fault_of(head)


def _answer(server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
    """Pass on what the server sends; once `cut`, a part of it."""
    with suppress(OSError):
        while piece := server.recv(_PIECE):
            if cut.is_set() and not piece.startswith(b"HTTP/1.1 100"):
                head, gap, body = piece.partition(b"\r\n\r\n")
                client.sendall(head + gap + body[: len(body) // 2])
                _reset(client)
                return
            client.sendall(piece)


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.shutdown(socket.SHUT_RD)
    client.close()


@contextmanager
def misbehaving(server: str) -> Iterator[Misbehaving]:
    """In front of this server, in threads."""
    found = Misbehaving(server)
    thread = threading.Thread(target=found.listen, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.close()
        thread.join()

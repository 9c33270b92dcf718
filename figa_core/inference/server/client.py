"""One vLLM server over HTTP: requests in, bytes out, and every way in which that can fail.

Redirects are not followed: a key is sent to the address in the settings only.
"""

import ssl
from dataclasses import dataclass

import aiohttp

from figa_core.inference.server.protocol import read_message
from figa_core.inference.servers import Servers

_CONNECT_TIMEOUT_S = 10.0
_QUICK_TIMEOUT_S = 10.0  # for what a healthy server answers at once
_BUSY_S = 1.0
_BUSY_MOST_S = 60.0


class ServerError(Exception):
    """A request had no usable answer; the message says why, without the key."""


class UnreachableError(ServerError):
    """The server is away: no connection, or it broke off."""


class BusyError(ServerError):
    """The server asks to come back after `wait_s` seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class RefusedError(ServerError):
    """The server cannot process this request, and will not if it is asked again."""


class UselessError(ServerError):
    """The server refuses all requests: the key, the address or the model's name is wrong."""


@dataclass(frozen=True, slots=True)
class Client:
    """One server. `session` is shared by all of them and closed by its owner."""

    root: str
    session: aiohttp.ClientSession
    timeout_s: float
    key: str | None

    async def get(self, path: str) -> bytes:
        """Raises ServerError. For what is answered at once: models, metrics, health."""
        return await self._send("GET", path, None, min(self.timeout_s, _QUICK_TIMEOUT_S))

    async def post(self, path: str, body: bytes, timeout_s: float | None = None) -> bytes:
        """Raises ServerError. `timeout_s`: instead of the client's."""
        return await self._send("POST", path, body, self.timeout_s if timeout_s is None else timeout_s)

    async def _send(self, method: str, path: str, body: bytes | None, timeout_s: float) -> bytes:
        limits = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, _CONNECT_TIMEOUT_S))
        try:
            async with self.session.request(
                method, self.root + path, data=body, timeout=limits, allow_redirects=False
            ) as response:
                content = await response.read()
        except TimeoutError as error:
            if isinstance(error, aiohttp.ServerConnectionError | aiohttp.ClientConnectorError):
                raise UnreachableError(f"no connection within {_CONNECT_TIMEOUT_S:g} s") from None
            raise ServerError(f"no answer within {timeout_s:g} s") from None
        except aiohttp.ClientError as error:
            raise UnreachableError(self._masked(f"{type(error).__name__}: {error}")) from None
        if response.status != 200:
            raise self._error(response, content)
        return content

    def _error(self, response: aiohttp.ClientResponse, content: bytes) -> ServerError:
        status = response.status
        words = self._masked(f"HTTP {status}: {read_message(content) or response.reason or 'no message'}")
        if status in (400, 413, 422):
            return RefusedError(words)
        if status == 429 or (status == 503 and "Retry-After" in response.headers):
            return BusyError(words, _wait(response.headers.get("Retry-After")))
        if status in (401, 403, 404, 405) or 300 <= status < 400:
            return UselessError(words)
        return ServerError(words)

    def _masked(self, text: str) -> str:
        """Without the key, which a proxy may repeat."""
        return text.replace(self.key, "[key]") if self.key and len(self.key) >= 8 else text


def root_of(url: str) -> str:
    """The address without a path of the API at its end: metrics and rewards lie beside ``/v1``."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def open_session(servers: Servers) -> aiohttp.ClientSession:
    """A session for all of the servers; the system's certificates are trusted, or those of SSL_CERT_FILE."""
    headers = {"Content-Type": "application/json"}
    if servers.api_key is not None:
        headers["Authorization"] = f"Bearer {servers.api_key}"
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context())
    return aiohttp.ClientSession(connector=connector, headers=headers)


def clients(servers: Servers, session: aiohttp.ClientSession) -> list[Client]:
    return [Client(root_of(url), session, servers.timeout_s, servers.api_key) for url in servers.urls]


def _wait(header: str | None) -> float:
    """Seconds in a Retry-After header; dates and nonsense count as one second."""
    try:
        seconds = float(header) if header else _BUSY_S
    except ValueError:
        return _BUSY_S
    return min(max(seconds, 0.1), _BUSY_MOST_S) if seconds == seconds else _BUSY_S

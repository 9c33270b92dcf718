"""One call to an OpenAI-compatible endpoint, over the `openai` client's aiohttp transport.

The client provides address, key and headers once; requests then go straight to its transport. Its own code
for each request and its typed responses would cost twice as much as the request itself, and we explain
malformed bodies ourselves.

The transport maps aiohttp's errors to httpx2's, and nearly all of them to "connect timeout". So the aiohttp
error underneath decides whether the connection failed or was lost.
"""

import asyncio
import base64
import ssl
import time
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import aiohttp
import httpx2
import openai
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from figa_core.errors import LLMError, RefusedRunError
from figa_core.llm.calls import CallOutcome
from figa_core.llm.question import ChatMessages
from figa_core.llm.refusals import read_error
from figa_core.llm.replies import read_completion
from figa_core.llm.reply import MESSAGE_LENGTH_MAX, Reply
from figa_core.llm.stated import read_limits

_CONNECT_TIMEOUT_S = 10.0
_CONNECTIONS_MAX = 10_000  # more than any max_concurrency, which is the real limit
_UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)


class _Connected(NamedTuple):
    """An HTTP client, and a request without its body."""

    http: httpx2.AsyncClient
    url: httpx2.URL
    headers: httpx2.Headers
    extensions: dict[str, Any]

    async def post(self, body: bytes) -> httpx2.Response:
        request = httpx2.Request(
            "POST", self.url, headers=self.headers, content=body, extensions=self.extensions
        )
        return await self.http.send(request, follow_redirects=False)


class ChatEndpoint:
    """Base URL, model and key of one provider, with its connections; satisfies `transport.Transport`.

    Raises:
        LLMError: the URL or the key cannot be used at all.
    """

    def __init__(self, base_url: str, model: str, api_key: str, *, timeout_s: float, section: str) -> None:
        """`timeout_s` is for one whole call; messages name `section`, of the configuration."""
        self.model = model
        self._setting = f"{section}.base_url"
        address = _parse(base_url, self._setting)
        self.url = urlunsplit((address.scheme, _host(address), address.path, "", ""))
        self.timeout_s = timeout_s
        if not api_key or not api_key.isascii() or not api_key.isprintable() or api_key != api_key.strip():
            raise RefusedRunError(
                f"{self.url}: the API key is empty or has characters that no HTTP header can carry. "
                f"Set what {section}.api_key_env or {section}.api_key_secret names."
            )
        self._address, self._api_key = address, api_key
        self._secret = len(api_key) >= 8  # keys of local servers, such as "none", are words and not secrets
        self._connected: _Connected | None = None

    def __repr__(self) -> str:
        return f"ChatEndpoint(url={self.url!r}, model={self.model!r})"

    async def ask(self, messages: ChatMessages, **fields: Any) -> Reply:
        """See `transport.Transport`."""
        body = orjson.dumps({"model": self.model, "messages": messages, **fields})
        try:
            async with asyncio.timeout(self.timeout_s):  # the transport's limit is for each read
                response = await self._send(body)
        except TimeoutError:
            return self._timed_out()
        except (httpx2.HTTPError, aiohttp.ClientError, HttpProcessingError) as error:
            return self._read_connection_error(_cause(error))
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw
        }
        return replace(self._read(response, headers), limits=read_limits(headers))

    async def aclose(self) -> None:
        """Close all connections."""
        connected, self._connected = self._connected, None
        if connected is not None:
            await connected.http.aclose()

    async def _send(self, body: bytes) -> httpx2.Response:
        if self._connected is None:
            self._connected = _connect(self._address, self._api_key, self.timeout_s)
        connected = self._connected
        response = await connected.post(body)
        there = _moved_to(response)
        if there is None or there == connected.url:
            return response
        self._connected = connected._replace(url=there)  # for later calls, too
        return await self._connected.post(body)

    def _read(self, response: httpx2.Response, headers: dict[str, str]) -> Reply:
        if response.is_success:
            return self._masked(read_completion(response.content, address=self._setting))
        if response.is_redirect:
            where = response.headers.get("location", "nowhere")
            message = f"HTTP {response.status_code}: a redirect to {where[:200]}"
            return self._masked(Reply(CallOutcome.WRONG_ADDRESS, message, status=response.status_code))
        body = response.content
        if self._secret:  # masked before it is read, because a long message is cut, perhaps within the key
            body = body.replace(self._api_key.encode(), b"[key]")
        return read_error(response.status_code, body, headers, now=time.time())

    def _timed_out(self) -> Reply:
        return Reply(CallOutcome.TIMEOUT, f"no whole answer within {self.timeout_s:g} s")

    def _read_connection_error(self, cause: BaseException) -> Reply:
        unreached = isinstance(cause, _UNREACHED)
        if isinstance(cause, aiohttp.ServerTimeoutError) and not unreached:
            return self._timed_out()
        outcome = CallOutcome.CONNECTION_FAILED if unreached else CallOutcome.CONNECTION_LOST
        message = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        return self._masked(Reply(outcome, message[:MESSAGE_LENGTH_MAX]))

    def _masked(self, reply: Reply) -> Reply:
        """Without the key, which some providers repeat in their messages."""
        if reply.message is None or not self._secret:
            return reply
        return replace(reply, message=reply.message.replace(self._api_key, "[key]"))


def _moved_to(response: httpx2.Response) -> httpx2.URL | None:
    """The target of a redirect that keeps the request, on the same host: the key is sent nowhere else."""
    if response.status_code not in (307, 308) or "location" not in response.headers:
        return None
    here = response.request.url
    try:
        there = here.join(response.headers["location"])
    except httpx2.InvalidURL:
        return None
    safe = there.scheme == here.scheme or there.scheme == "https"
    return there if safe and there.host == here.host else None


def _connect(address: SplitResult, api_key: str, timeout_s: float) -> _Connected:
    timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))
    http = openai.DefaultAioHttpClient(
        limits=httpx2.Limits(max_connections=_CONNECTIONS_MAX),
        timeout=timeout,
        verify=ssl.create_default_context(),
    )
    client = openai.AsyncOpenAI(
        base_url=urlunsplit(address._replace(netloc=_host(address))),
        api_key=api_key,
        default_headers=_basic_authorization(address),
        http_client=http,
    )
    headers = {**client.auth_headers, **client.default_headers}
    return _Connected(
        http,
        client.base_url.join("chat/completions"),
        httpx2.Headers({name: value for name, value in headers.items() if isinstance(value, str)}),
        {"timeout": timeout.as_dict()},
    )


def _cause(error: BaseException) -> BaseException:
    """The aiohttp error underneath `error`, or the last error underneath it."""
    while error.__cause__ is not None and not isinstance(error, aiohttp.ClientError):
        error = error.__cause__
    return error


def _parse(base_url: str, setting: str) -> SplitResult:
    try:
        parts = urlsplit(base_url)
        if parts.hostname is not None and parts.port != 0 and parts.scheme in ("http", "https"):
            return parts
    except ValueError:  # malformed brackets, or an impossible port
        pass
    raise LLMError(f"{setting} is not an http(s) address. Give one such as https://api.openai.com/v1.")


def _host(address: SplitResult) -> str:
    """Host and port, without user and password."""
    return address.netloc.rpartition("@")[2]


def _basic_authorization(address: SplitResult) -> dict[str, str]:
    """The header for user and password in an address; aiohttp refuses them beside an Authorization header."""
    if address.username is None:
        return {}
    pair = f"{unquote(address.username)}:{unquote(address.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

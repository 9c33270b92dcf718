"""One call to an OpenAI-compatible endpoint: the adapter around the `openai` client over aiohttp.

The client's own retries are off; the typed response models are by-passed, because building them costs more
than all the rest of a call and because a malformed body is ours to explain. `ask` never raises but for
cancellation: every way a call can end is a `Reply`.

The transport maps aiohttp's errors to httpx2's, and nearly all of them to "connect timeout", so that here
the aiohttp error underneath says whether nobody was reached or a connection was lost.
"""

import asyncio
import base64
import ssl
import time
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import aiohttp
import httpx2
import openai
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from figa_core.errors import ReviserError
from figa_core.revision.calls import CallOutcome
from figa_core.revision.replies import MESSAGE_LENGTH_MAX, Reply, read_completion, read_error

_MASKED_KEY_LENGTH = 8  # local servers take keys such as "none": those are words, not secrets
_CONNECT_TIMEOUT_S = 10.0
_CONNECTIONS_MAX = 10_000  # more than revision.max_concurrency allows: it is that which bounds them
_UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)


class ChatEndpoint:
    """Base URL, model and key of one provider, with its connections.

    Raises:
        ReviserError: the URL or the key cannot be used at all.
    """

    def __init__(self, base_url: str, model: str, api_key: str, *, timeout_s: float) -> None:
        self.model = model
        address = _parse(base_url)
        self.url = urlunsplit((address.scheme, _host(address), address.path, "", ""))
        self._timeout_s = timeout_s
        if not api_key or not api_key.isascii() or not api_key.isprintable() or api_key != api_key.strip():
            raise ReviserError(
                f"{self.url}: the API key is empty or holds characters that no HTTP header can carry. "
                "Set the environment variable that revision.api_key_env names."
            )
        self._address, self._api_key = address, api_key
        self._client: openai.AsyncOpenAI | None = None

    def __repr__(self) -> str:
        return f"ChatEndpoint(url={self.url!r}, model={self.model!r})"

    async def ask(self, messages: list[dict[str, str]], **fields: Any) -> Reply:
        """Send one request; `fields` are the request's others, such as `temperature`."""
        body = orjson.dumps({"model": self.model, "messages": messages, **fields})
        try:
            async with asyncio.timeout(self._timeout_s):  # the client's own limit is per read, not per call
                response = await self._connected().post(
                    "/chat/completions", content=body, cast_to=httpx2.Response
                )
            return read_completion(response.content, response.headers)
        except TimeoutError:
            return self._timed_out()
        except openai.APIStatusError as error:
            response = error.response
            reply = read_error(response.status_code, _content(response), response.headers, now=time.time())
            return self._masked(reply)
        except (
            openai.APIConnectionError,
            httpx2.HTTPError,
            aiohttp.ClientError,
            HttpProcessingError,
        ) as error:
            return self._read_connection_error(_cause(error))

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connected(self) -> openai.AsyncOpenAI:
        if self._client is None:
            timeout = httpx2.Timeout(self._timeout_s, connect=min(self._timeout_s, _CONNECT_TIMEOUT_S))
            address = self._address._replace(netloc=_host(self._address))
            self._client = openai.AsyncOpenAI(
                base_url=urlunsplit(address),
                api_key=self._api_key,
                max_retries=0,
                timeout=timeout,
                default_headers=_basic_authorization(self._address),
                http_client=openai.DefaultAioHttpClient(
                    limits=httpx2.Limits(max_connections=_CONNECTIONS_MAX),
                    timeout=timeout,
                    verify=ssl.create_default_context(),
                ),
            )
        return self._client

    def _timed_out(self) -> Reply:
        return Reply(CallOutcome.TIMEOUT, f"no whole answer within {self._timeout_s:g} s")

    def _read_connection_error(self, cause: BaseException) -> Reply:
        if isinstance(cause, aiohttp.ServerTimeoutError) and not isinstance(cause, _UNREACHED):
            return self._timed_out()
        outcome = (
            CallOutcome.CONNECTION_FAILED if isinstance(cause, _UNREACHED) else CallOutcome.CONNECTION_LOST
        )
        message = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        return self._masked(Reply(outcome, message[:MESSAGE_LENGTH_MAX]))

    def _masked(self, reply: Reply) -> Reply:
        """Providers like to repeat the key in their messages."""
        key = self._api_key
        if reply.message is None or len(key) < _MASKED_KEY_LENGTH or key not in reply.message:
            return reply
        return replace(reply, message=reply.message.replace(key, "[key]"))


def _cause(error: BaseException) -> BaseException:
    """The aiohttp error that `error` stands for, or the last one underneath it."""
    while error.__cause__ is not None and not isinstance(error, aiohttp.ClientError):
        error = error.__cause__
    return error


def _content(response: httpx2.Response) -> bytes:
    try:
        return response.content
    except httpx2.ResponseNotRead:
        return b""


def _parse(base_url: str) -> SplitResult:
    try:
        parts = urlsplit(base_url)
        if parts.hostname is not None and parts.port != 0 and parts.scheme in ("http", "https"):
            return parts
    except ValueError:  # brackets or a port that are none
        pass
    raise ReviserError("revision.base_url is no http(s) address. Give one such as https://api.openai.com/v1.")


def _host(address: SplitResult) -> str:
    """Host and port, without user and password."""
    return address.netloc.rpartition("@")[2]


def _basic_authorization(address: SplitResult) -> dict[str, str]:
    """What user and password in an address mean; aiohttp refuses them beside the key's own header."""
    if address.username is None:
        return {}
    pair = f"{unquote(address.username)}:{unquote(address.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

"""One call to an OpenAI-compatible endpoint: the adapter around the `openai` client.

The client's own retries are off; the typed response models are by-passed, because building them costs more
than all the rest of a call (measured on two cores: 5.0 ms against 2.0 ms of CPU) and because a malformed
body is ours to explain. `ask` never raises but for cancellation: every way a call can end is a `Reply`.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import openai

from figa_core.errors import ReviserError
from figa_core.revision.calls import CallOutcome
from figa_core.revision.replies import MESSAGE_LENGTH_MAX, Reply, read_completion, read_error

_MASKED_KEY_LENGTH = 8  # local servers take keys such as "none": those are words, not secrets
_CONNECT_TIMEOUT_S = 10.0
_CONNECTIONS_PER_POOL = 8


@dataclass(slots=True, repr=False)
class _Pool:
    """A client with a few connections. For every request a pool looks at each of its idle connections, so
    that one pool of 64 costs as much again as the request itself; several small ones do not."""

    client: openai.AsyncOpenAI
    busy: int = 0


class ChatEndpoint:
    """Base URL, model and key of one provider, with its connections.

    Raises:
        ReviserError: the URL or the key cannot be used at all.
    """

    def __init__(self, base_url: str, model: str, api_key: str, *, timeout_s: float) -> None:
        self.model = model
        self.url = _without_credentials(base_url)
        self._timeout_s = timeout_s
        if not api_key or not api_key.isascii() or not api_key.isprintable() or api_key != api_key.strip():
            raise ReviserError(
                f"{self.url}: the API key is empty or holds characters that no HTTP header can carry. "
                "Set the environment variable that revision.api_key_env names."
            )
        self._base_url, self._api_key = base_url, api_key
        self._ssl = ssl.create_default_context()
        self._pools: list[_Pool] = []

    def __repr__(self) -> str:
        return f"ChatEndpoint(url={self.url!r}, model={self.model!r})"

    async def ask(
        self, messages: list[dict[str, str]], *, temperature: float, max_tokens: int, limit_name: str
    ) -> Reply:
        """Send one request; `limit_name` is the field that carries `max_tokens`."""
        body = {"model": self.model, "messages": messages, "temperature": temperature, limit_name: max_tokens}
        pool = self._free_pool()
        pool.busy += 1
        try:
            async with asyncio.timeout(self._timeout_s):  # the client's own limit is per read, not per call
                response = await pool.client.post("/chat/completions", body=body, cast_to=httpx2.Response)
            return read_completion(response.content)
        except (TimeoutError, openai.APITimeoutError) as error:
            return self._read_timeout(error)
        except openai.APIStatusError as error:
            response = error.response
            reply = read_error(response.status_code, _content(response), response.headers, now=time.time())
            return self._masked(reply)
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            return self._read_connection_error(error)
        finally:
            pool.busy -= 1

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = self._pools, []
        for pool in pools:
            await pool.client.close()

    def _free_pool(self) -> "_Pool":
        for pool in self._pools:
            if pool.busy < _CONNECTIONS_PER_POOL:
                return pool
        limits = httpx2.Limits(
            max_connections=_CONNECTIONS_PER_POOL, max_keepalive_connections=_CONNECTIONS_PER_POOL
        )
        timeout = httpx2.Timeout(self._timeout_s, connect=min(self._timeout_s, _CONNECT_TIMEOUT_S))
        client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpx2Client(limits=limits, timeout=timeout, verify=self._ssl),
        )
        self._pools.append(_Pool(client))
        return self._pools[-1]

    def _read_timeout(self, error: Exception) -> Reply:
        if isinstance(error.__cause__, httpx2.ConnectTimeout):
            return Reply(CallOutcome.CONNECTION_FAILED, "no connection in time")
        return Reply(CallOutcome.TIMEOUT, f"no whole answer within {self._timeout_s:g} s")

    def _read_connection_error(self, error: Exception) -> Reply:
        cause: Any = error.__cause__ or error
        failed = isinstance(cause, httpx2.ConnectError)
        outcome = CallOutcome.CONNECTION_FAILED if failed else CallOutcome.CONNECTION_LOST
        message = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        return self._masked(Reply(outcome, message[:MESSAGE_LENGTH_MAX]))

    def _masked(self, reply: Reply) -> Reply:
        """Providers like to repeat the key in their messages."""
        key = self._api_key
        if reply.message is None or len(key) < _MASKED_KEY_LENGTH or key not in reply.message:
            return reply
        return replace(reply, message=reply.message.replace(key, "[key]"))


def _content(response: httpx2.Response) -> bytes:
    try:
        return response.content
    except httpx2.ResponseNotRead:
        return b""


def _without_credentials(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
    except ValueError:
        parts = urlsplit("")
    if parts.hostname is None or parts.scheme not in ("http", "https"):
        raise ReviserError(
            "revision.base_url is no http(s) address. Give one such as https://api.openai.com/v1."
        )
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))

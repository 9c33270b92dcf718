"""Runs in vLLM's server: every route but /health needs the server's key.

vLLM itself asks for it below /v1 and a few other prefixes only, so that anyone on the network could have
texts rated (/classify, /pooling) or generated (/invocations). `server/launch.py` names this class to it.
"""

import hmac
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

KEY_VARIABLE = "VLLM_API_KEY"
_OPEN = ("/health",)
_BODY = b'{"error": {"message": "the key is missing or wrong", "type": "Unauthorized", "code": 401}}'

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class RequireKey:
    """ASGI middleware; without $VLLM_API_KEY at the start, everything is open."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        key = os.environ.get(KEY_VARIABLE)
        self._wanted = f"Bearer {key}".encode() if key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or let the request through; a websocket without the key is closed."""
        if self._wanted is None or not self._refuses(scope, self._wanted):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})

    def _refuses(self, scope: Scope, wanted: bytes) -> bool:
        if scope["type"] not in ("http", "websocket") or scope.get("path") in _OPEN:
            return False
        return not hmac.compare_digest(_authorization(scope.get("headers", ())), wanted)


def _authorization(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return next((value for name, value in headers if name.lower() == b"authorization"), b"")

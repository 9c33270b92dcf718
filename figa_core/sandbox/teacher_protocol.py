"""The OpenAI chat-completions protocol, as far as the teacher speaks it: request and response bodies."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import JSONResponse, Response

from figa_core.sandbox import teacher_rules as rules


def read_body(raw: bytes) -> tuple[dict[str, Any] | None, str]:
    """The request's JSON and its last user message; None where it is no chat request."""
    try:
        body = json.loads(raw)
        users = [str(m["content"]) for m in body["messages"] if m["role"] == "user"]
    except (ValueError, KeyError, TypeError):
        return None, ""
    return body, users[-1] if users else ""


def completion(model: str, sha: str, content: str, finish: str, prompt_tokens: int) -> dict[str, Any]:
    """A chat completion with one choice."""
    completion_tokens = rules.count_tokens(content)
    message = {"role": "assistant", "content": content, "refusal": None}
    return {
        "id": f"chatcmpl-{sha[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def error(
    status: int, message: str, kind: str, code: str | None, headers: dict[str, str] | None = None
) -> Response:
    """An error as OpenAI words it."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JSONResponse(body, status_code=status, headers=headers)


def rate_limited(wait_s: float, headers: dict[str, str]) -> Response:
    """429 with the seconds to wait, in whole seconds and in milliseconds."""
    waits = {"retry-after": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))}
    text = f"Rate limit reached. Please try again in {wait_s:.3f}s."
    return error(429, text, "requests", "rate_limit_exceeded", headers | waits)


async def broken_body() -> AsyncIterator[bytes]:
    """Fewer bytes than promised, then the connection goes: uvicorn drops it when the body raises."""
    yield b'{"id": "chatcmpl-x", "object": "chat.completion", "choices": ['
    await asyncio.sleep(0.01)
    raise ConnectionResetError("the teacher resets this connection on purpose")

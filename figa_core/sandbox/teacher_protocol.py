"""The OpenAI chat-completions protocol, as far as the teacher needs it: request and response bodies."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from figa_core.sandbox import teacher_rules as rules
from figa_core.sandbox.teacher_rules import TeacherFault

_ERRORS = {  # arguments of `error`
    TeacherFault.QUOTA: (
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    TeacherFault.SERVER_ERROR: (
        500,
        "The server had an error while processing your request.",
        "server_error",
    ),
    TeacherFault.UNAVAILABLE: (503, "The engine is currently overloaded.", "server_error"),
    TeacherFault.TIMEOUT: (504, "Gateway timeout.", "server_error"),
}


def read_body(raw: bytes) -> tuple[dict[str, Any] | None, str]:
    """The request's JSON and its last user message with a draft; None if it is not a chat request.

    Without any draft, the last user message: a request for another answer follows the one with the draft.
    """
    try:
        body = json.loads(raw)
        users = [str(m["content"]) for m in body["messages"] if m["role"] == "user"]
    except (ValueError, KeyError, TypeError):
        return None, ""
    drafts = [text for text in users if "<response>" in text]
    return body, (drafts or users or [""])[-1]


def completion(
    sha: str, content: str, finish: str, prompt_tokens: int, *, choices: int, refusal: str | None = None
) -> dict[str, Any]:
    """A chat completion whose choices are all the same; a refusal takes the content's place."""
    completion_tokens = rules.count_tokens(refusal or content)
    message = {"role": "assistant", "content": None if refusal else content, "refusal": refusal}
    return {
        "id": f"chatcmpl-{sha[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": rules.MODEL,
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
            for index in range(choices)
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def limit_headers(window: rules.SlidingWindow, now: float) -> dict[str, str]:
    """The limits, what is left of them, and when they are whole again, in OpenAI's format."""
    requests_left, tokens_left, reset_s = window.left(now)
    reset = duration(reset_s)
    return {
        "x-ratelimit-limit-requests": str(window.max_requests),
        "x-ratelimit-limit-tokens": str(window.max_tokens),
        "x-ratelimit-remaining-requests": str(requests_left),
        "x-ratelimit-remaining-tokens": str(tokens_left),
        "x-ratelimit-reset-requests": reset,
        "x-ratelimit-reset-tokens": reset,
    }


def duration(seconds: float) -> str:
    """Such as "20ms", "59.9s", "6m0s"."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{minutes:.0f}m{rest:.6g}s" if minutes else f"{rest:.6g}s"


def error(
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error as OpenAI words it."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JSONResponse(body, status_code=status, headers=headers)


def wrong_key() -> Response:
    return error(401, "Incorrect API key provided.", code="invalid_api_key")


def rate_limited(wait_s: float, headers: dict[str, str]) -> Response:
    """429 with the time to wait, in whole seconds and in milliseconds."""
    waits = {"retry-after": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))}
    text = f"Rate limit reached. Please try again in {wait_s:.3f}s."
    return error(429, text, "requests", "rate_limit_exceeded", headers | waits)


def failure(fault: TeacherFault | None, headers: dict[str, str]) -> Response | None:
    """The response for a fault that is not a completion; None for the others."""
    if fault is not None and fault in _ERRORS:
        return error(*_ERRORS[fault])
    if fault is TeacherFault.RATE_LIMIT:
        return rate_limited(1.0, headers)
    if fault is TeacherFault.RESET:
        promised = {"content-length": "1000"}
        return StreamingResponse(_broken_body(), headers=promised, media_type="application/json")
    if fault is TeacherFault.MALFORMED_JSON:
        return Response('{"id": "chatcmpl-x", "choices": [{"mess', media_type="application/json")
    return None


async def _broken_body() -> AsyncIterator[bytes]:
    """Fewer bytes than promised, then a closed connection: uvicorn drops it when the body raises."""
    yield b'{"id": "chatcmpl-x", "object": "chat.completion", "choices": ['
    await asyncio.sleep(0.01)
    raise ConnectionResetError("the teacher resets this connection on purpose")

"""From what an endpoint sent to what it means. Pure: bytes and headers in, one `Reply` out.

The shapes are OpenAI's chat completions and those that compatible servers (vLLM, OpenRouter, proxies)
are known to send in their place.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypedDict

import orjson

from figa_core.revision.calls import CallOutcome
from figa_core.revision.refusals import read_error
from figa_core.revision.reply import Reply, shorten
from figa_core.revision.stated import read_limits


class _Usage(TypedDict):
    prompt_tokens: int | None
    completion_tokens: int | None


def read_completion(body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> Reply:
    """The meaning of a 2xx response."""
    return replace(_read_completion(body), limits=read_limits(headers))


def _read_completion(body: bytes) -> Reply:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Reply(CallOutcome.MALFORMED, shorten(f"{error} in {len(body)} bytes: {_text(body)[:80]!r}"))
    if not isinstance(data, dict):
        return Reply(CallOutcome.MALFORMED, f"the body is a JSON {type(data).__name__}, not an object")
    if data.get("error") and not data.get("choices"):  # proxies report errors under a 200
        return _read_wrapped_error(data["error"], body)
    if "choices" not in data:
        return Reply(CallOutcome.MALFORMED, f"the body has no choices: {_text(body)[:80]!r}")
    usage = _token_counts(data.get("usage"))
    if not data["choices"]:
        return Reply(CallOutcome.EMPTY_CHOICES, "the list of choices is empty", **usage)
    try:
        return _read_choice(data["choices"][0], usage)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Reply(CallOutcome.MALFORMED, shorten(f"not a chat completion: {error!r}"), **usage)


def _read_choice(choice: dict[str, Any], usage: _Usage) -> Reply:
    message = choice["message"]
    text, refusal, finish_reason = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    if not all(value is None or isinstance(value, str) for value in (text, refusal, finish_reason)):
        raise ValueError("content, refusal or finish_reason is no text")
    outcome = CallOutcome.ANSWERED
    if refusal or finish_reason == "content_filter":
        outcome = CallOutcome.REFUSED
    elif finish_reason == "length":
        outcome = CallOutcome.CUT_BY_LENGTH
    note = shorten(refusal) if refusal else None
    return Reply(outcome, note, text, finish_reason, refusal, **usage)


def _read_wrapped_error(error: Any, body: bytes) -> Reply:
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return read_error(status, body, {}, now=0.0)


def _token_counts(usage: Any) -> _Usage:
    def count(name: str) -> int | None:
        value = usage.get(name) if isinstance(usage, dict) else None
        return value if type(value) is int and value >= 0 else None

    return {"prompt_tokens": count("prompt_tokens"), "completion_tokens": count("completion_tokens")}


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")

"""From what an endpoint sent to what it means. Pure: bytes and headers in, one `Reply` out.

The shapes are OpenAI's chat completions and those that compatible servers (vLLM, OpenRouter, proxies)
are known to send in their place.
"""

import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypedDict

import orjson

from figa_core.revision.calls import CallOutcome
from figa_core.revision.stated import StatedLimits, read_limits

MESSAGE_LENGTH_MAX = 500

_RETRIED_STATUSES = (408, 409, 425)
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_FILTER_CODES = {"content_filter", "content_policy_violation", "moderation_blocked"}
_MODEL_CODES = {"model_not_found"}
_UNSUPPORTED_CODES = {"unsupported_parameter", "unsupported_value"}
_SHARED_SETTINGS = {"max_tokens", "max_completion_tokens", "temperature", "model", "response_format"}
_RESPONSE_FORMAT = re.compile(r"response_?format|json_?schema|structured[ _]outputs?", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"maximum context length|context_length|context length|context window|prompt is too long|too many tokens",
    re.IGNORECASE,
)


class _Usage(TypedDict):
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Reply:
    """One call's end: what kind it is, and what came with it. `message` is the endpoint's own words."""

    outcome: CallOutcome
    message: str | None = None
    text: str | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    retry_after_s: float | None = None
    limits: StatedLimits | None = None  # what the headers state about the provider's rate limits
    setting: str | None = None  # the request field that an UNSUPPORTED_SETTING is about

    @property
    def used_tokens(self) -> int | None:
        """Prompt and completion tokens together, None where the endpoint counted none."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


def read_completion(body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> Reply:
    """The meaning of a 2xx response."""
    return replace(_read_completion(body), limits=read_limits(headers))


def _read_completion(body: bytes) -> Reply:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Reply(CallOutcome.MALFORMED, _shorten(f"{error} in {len(body)} bytes: {_text(body)[:80]!r}"))
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
        return Reply(CallOutcome.MALFORMED, _shorten(f"not a chat completion: {error!r}"), **usage)


def read_error(status: int, body: bytes, headers: Mapping[str, str], *, now: float) -> Reply:
    """The meaning of a response with an error status; `now` in seconds since the epoch."""
    error = _error_object(body)
    message = _shorten(f"HTTP {status}: {error.get('message') or _text(body).strip() or 'no message'}")
    parameter = error.get("param")
    setting = parameter.partition(".")[0] if isinstance(parameter, str) else None
    if setting is None and status in (400, 422) and _RESPONSE_FORMAT.search(message):
        setting = "response_format"  # few servers name the parameter
    outcome = _error_outcome(status, {str(error.get("code")), str(error.get("type"))}, setting, message)
    return Reply(
        outcome,
        message,
        retry_after_s=retry_after_s(headers, now=now) if outcome is CallOutcome.RATE_LIMITED else None,
        limits=read_limits(headers),
        setting=setting,
    )


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that `retry-after-ms` or `retry-after` (seconds or an HTTP date) ask for, or None."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            parsed = email.utils.parsedate_tz(value)
            if parsed is None:
                continue
            seconds = email.utils.mktime_tz(parsed) - now
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def _error_outcome(status: int, codes: set[str], setting: str | None, message: str) -> CallOutcome:
    if codes & _QUOTA_CODES or status == 402:
        return CallOutcome.NO_QUOTA
    if status == 429:
        return CallOutcome.RATE_LIMITED
    if status >= 500 or status in _RETRIED_STATUSES:
        return CallOutcome.SERVER_ERROR
    if codes & _FILTER_CODES:
        return CallOutcome.REFUSED
    if status in (401, 403):
        return CallOutcome.BAD_KEY
    if status == 404 or codes & _MODEL_CODES:
        return CallOutcome.UNKNOWN_MODEL
    if status == 413 or _TOO_LONG.search(message) or "context_length_exceeded" in codes:
        return CallOutcome.CONTEXT_TOO_LONG
    if setting in _SHARED_SETTINGS or codes & _UNSUPPORTED_CODES:
        return CallOutcome.UNSUPPORTED_SETTING
    return CallOutcome.BAD_REQUEST


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
    note = _shorten(refusal) if refusal else None
    return Reply(outcome, note, text, finish_reason, refusal, **usage)


def _read_wrapped_error(error: Any, body: bytes) -> Reply:
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return read_error(status, body, {}, now=0.0)


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = data.get("error", data) if isinstance(data, dict) else data
    return error if isinstance(error, dict) else {"message": str(error)}


def _token_counts(usage: Any) -> _Usage:
    def count(name: str) -> int | None:
        value = usage.get(name) if isinstance(usage, dict) else None
        return value if type(value) is int and value >= 0 else None

    return {"prompt_tokens": count("prompt_tokens"), "completion_tokens": count("completion_tokens")}


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _shorten(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 1] + "…"

"""What a reply with an error status means: about its row, about a setting, or about the whole run. Pure."""

import email.utils
import re
from collections.abc import Mapping
from typing import Any

import orjson

from figa_core.revision.calls import CallOutcome
from figa_core.revision.reply import Reply, shorten
from figa_core.revision.stated import read_limits

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


def read_error(status: int, body: bytes, headers: Mapping[str, str], *, now: float) -> Reply:
    """The meaning of a response with an error status; `now` in seconds since the epoch."""
    error = _error_object(body)
    message = shorten(f"HTTP {status}: {error.get('message') or _text(body).strip() or 'no message'}")
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


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = data.get("error", data) if isinstance(data, dict) else data
    return error if isinstance(error, dict) else {"message": str(error)}


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")

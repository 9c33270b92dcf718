"""The answer journal's records: a call sent, a call answered, a question settled in another way.

A call is *in flight* when its `CallSent` is journalled and its `CallAnswered` is not. Records are plain data
and never contain an API key.

On disk a record is one line of JSON; `kind` names its class. The final value of a question is a dataclass in
a record to be written, and a dict in one that was read. Lines without a purpose come from versions that asked
for revisions only.
"""

import hashlib
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

import orjson

MARK_DIGITS = 16


class CallOutcome(StrEnum):
    """How one call to the endpoint ended. `attempts.py` decides what follows."""

    ANSWERED = "answered"  # a whole text came back, fit or not
    CUT_BY_LENGTH = "cut_by_length"
    REFUSED = "refused"  # the model's refusal or the provider's content filter
    EMPTY_CHOICES = "empty_choices"
    MALFORMED = "malformed"  # no JSON, truncated JSON, or not a chat completion
    TIMEOUT = "timeout"
    CONNECTION_FAILED = "connection_failed"  # nothing was sent
    CONNECTION_LOST = "connection_lost"  # after the request was sent
    SERVER_ERROR = "server_error"  # 5xx, 408, 409
    RATE_LIMITED = "rate_limited"  # 429
    CONTEXT_TOO_LONG = "context_too_long"
    BAD_REQUEST = "bad_request"  # a 4xx in words that are not recognised
    UNSUPPORTED_SETTING = "unsupported_setting"  # a 4xx about a setting that all questions share
    BAD_KEY = "bad_key"
    NO_QUOTA = "no_quota"
    NO_ACCESS = "no_access"  # the key is valid, but its account may not do this
    UNKNOWN_MODEL = "unknown_model"
    WRONG_ADDRESS = "wrong_address"  # a redirect, or a 404 that names no model


@dataclass(frozen=True, slots=True)
class CallSent:
    """A request about to be sent: durable before the first byte leaves. Times are seconds since the epoch."""

    call_id: str
    purpose: str
    subject_id: str
    attempt: int  # from 1; a 429 does not count as one
    sent_at: float
    estimated_tokens: int
    reserved_usd: float | None = None  # the most the call can cost; None without a price


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """How a call ended, with an answer or without."""

    call_id: str
    purpose: str
    subject_id: str
    attempt: int
    answered_at: float
    latency_s: float
    outcome: CallOutcome
    message: str | None = None
    prompt_tokens: int | None = None  # the provider's `usage`
    completion_tokens: int | None = None
    value: Any = None  # the question's final value, if this call settled it
    cost_usd: float | None = None  # None: the reservation counts instead
    mark: str | None = None  # of the text that was asked about (`text_mark`); None in release 0.1


@dataclass(frozen=True, slots=True)
class RowSettled:
    """A question whose final value is in no `CallAnswered`.

    No request can carry it, its refusal was in doubt, or an answer to the same question was stored; then
    `mark` belongs to the text that was asked about.
    """

    settled_at: float
    purpose: str
    subject_id: str
    value: Any
    mark: str | None = None


CallRecord = CallSent | CallAnswered | RowSettled

_CLASSES: dict[str, type[CallRecord]] = {"sent": CallSent, "answered": CallAnswered, "settled": RowSettled}
_KINDS = {record_class: kind for kind, record_class in _CLASSES.items()}
_OF_A_CALL = {"call_id": str, "purpose": str, "subject_id": str, "attempt": int}
_USD = float | int | None
_TYPES: dict[type[CallRecord], dict[str, Any]] = {
    CallSent: {**_OF_A_CALL, "sent_at": float, "estimated_tokens": int, "reserved_usd": _USD},
    CallAnswered: {
        **_OF_A_CALL, "answered_at": float, "latency_s": float, "message": str | None, "cost_usd": _USD,
        "prompt_tokens": int | None, "completion_tokens": int | None, "value": dict | None,
        "mark": str | None,
    },
    RowSettled: {"settled_at": float, "purpose": str, "subject_id": str, "value": dict, "mark": str | None},
}  # fmt: skip


def text_mark(text: str) -> str:
    """Identifies a text: the first digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:MARK_DIGITS]


def encode(record: CallRecord) -> bytes:
    """One line of JSON with its line feed. Lone surrogates, which UTF-8 cannot carry, become "?"."""
    body: dict[str, Any] = {"kind": _KINDS[type(record)]}
    body.update((field.name, getattr(record, field.name)) for field in fields(record))
    try:
        return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return orjson.dumps(_printable(body), option=orjson.OPT_APPEND_NEWLINE)


def _printable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {name: _printable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def decode(line: bytes) -> CallRecord:
    """The record of one journal line.

    Raises:
        ValueError: the line is not JSON, has an unknown kind, or a missing or mistyped field.
    """
    body = orjson.loads(line)
    record_class = _CLASSES.get(str(body.pop("kind", None))) if isinstance(body, dict) else None
    if record_class is None:
        raise ValueError("not a record of a known kind")
    if "purpose" not in body:
        body = _of_a_revision(body)
    for name, kind in _TYPES[record_class].items():
        if not isinstance(body.get(name), kind):
            raise ValueError(f"field {name!r} is missing or not of type {getattr(kind, '__name__', kind)}")
    try:
        if record_class is CallAnswered:
            body["outcome"] = CallOutcome(body["outcome"])
        return record_class(**body)
    except (TypeError, KeyError) as error:
        raise ValueError(f"wrong fields: {error}") from error


def _of_a_revision(body: dict[str, Any]) -> dict[str, Any]:
    """A record of a version that asked for revisions only, with today's field names."""
    revision = body.pop("revision", None)
    about = body.pop("revision_id", None)
    if about is None and isinstance(revision, dict):
        about = revision.get("revision_id")
    body.pop("response_id", None)
    upgraded = {**body, "purpose": "revision", "subject_id": about}
    if "draft" in body:
        upgraded["mark"] = upgraded.pop("draft")
    return upgraded if revision is None else {**upgraded, "value": revision}

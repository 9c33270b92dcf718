"""What the answer journal holds: one record for each call sent, answered, or row given up.

A call is *in flight* when its `CallSent` is journalled and its `CallAnswered` is not. The records are plain
data, so that the journal, the store and the reviser can share them; none of them ever holds an API key.

On disk a record is one line of JSON whose `kind` names the class and whose other fields are the record's.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

import orjson

from figa_core.records import Revision, RevisionStatus

DRAFT_MARK_DIGITS = 16


class CallOutcome(StrEnum):
    """How one call to the endpoint ended. What follows from it is decided in `attempts.py`."""

    ANSWERED = "answered"  # a whole text came back; the row's status says whether it is fit
    CUT_BY_LENGTH = "cut_by_length"
    REFUSED = "refused"  # the model's refusal or the provider's content filter
    EMPTY_CHOICES = "empty_choices"
    MALFORMED = "malformed"  # no JSON, truncated JSON, or not a chat completion
    TIMEOUT = "timeout"
    CONNECTION_FAILED = "connection_failed"  # nobody answered the door: nothing was sent
    CONNECTION_LOST = "connection_lost"  # broken off after the request had gone out
    SERVER_ERROR = "server_error"  # 5xx, 408, 409
    RATE_LIMITED = "rate_limited"  # 429
    CONTEXT_TOO_LONG = "context_too_long"
    BAD_REQUEST = "bad_request"  # a 4xx that says nothing anybody recognises
    UNSUPPORTED_SETTING = "unsupported_setting"  # a 4xx about a setting that every row shares
    BAD_KEY = "bad_key"
    NO_QUOTA = "no_quota"
    NO_ACCESS = "no_access"  # the key is right, and its account may not do this
    UNKNOWN_MODEL = "unknown_model"
    WRONG_ADDRESS = "wrong_address"  # a redirect, or a 404 that names no model


@dataclass(frozen=True, slots=True)
class CallSent:
    """A request about to be sent: durable before the first byte leaves.

    `attempt` counts from 1 and is the same again after a 429; `sent_at` is in seconds since the epoch.
    `reserved_usd` is the most the call can cost, None where the config has no price.
    """

    call_id: str
    revision_id: str
    attempt: int
    sent_at: float
    estimated_tokens: int
    reserved_usd: float | None = None


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """How a call ended, also when it ended without an answer.

    `revision` is the row's final state if this call settled it. Token counts are the provider's `usage`,
    None where it gave none; `latency_s` in seconds, `answered_at` in seconds since the epoch. `cost_usd`
    follows from them; where it is None the call's reservation counts instead. `draft` is the mark of
    the text that was to be revised (`draft_mark`), None in journals of release 0.1.
    """

    call_id: str
    revision_id: str
    response_id: str
    attempt: int
    answered_at: float
    latency_s: float
    outcome: CallOutcome
    message: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    revision: Revision | None = None
    cost_usd: float | None = None
    draft: str | None = None


@dataclass(frozen=True, slots=True)
class RowSettled:
    """A row that got its final state apart from a call: it cannot be sent, its refusal was in doubt, or an
    answer to the same question was stored; then `draft` is the mark of the text that it revised.
    """

    settled_at: float
    revision: Revision
    draft: str | None = None


CallRecord = CallSent | CallAnswered | RowSettled

_CLASSES: dict[str, type[CallRecord]] = {"sent": CallSent, "answered": CallAnswered, "settled": RowSettled}
_KINDS = {record_class: kind for kind, record_class in _CLASSES.items()}
_REQUIRED = {
    CallSent: {"call_id": str, "revision_id": str, "attempt": int, "sent_at": float, "estimated_tokens": int},
    CallAnswered: {
        "call_id": str,
        "revision_id": str,
        "response_id": str,
        "attempt": int,
        "answered_at": float,
        "latency_s": float,
    },
    RowSettled: {"settled_at": float},
}


def draft_mark(text: str) -> str:
    """What tells one draft from another: the first digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:DRAFT_MARK_DIGITS]


def encode(record: CallRecord) -> bytes:
    """One line of JSON with its line feed. Lone surrogates, which UTF-8 cannot carry, become "?"."""
    body: dict[str, Any] = {"kind": _KINDS[type(record)]}
    body.update((field.name, getattr(record, field.name)) for field in fields(record))
    try:
        return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return orjson.dumps(_printable({**body, **asdict(record)}), option=orjson.OPT_APPEND_NEWLINE)


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _printable(item) for name, item in value.items()}
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def decode(line: bytes) -> CallRecord:
    """The record of one journal line.

    Raises:
        ValueError: the line is no JSON, of an unknown kind, or lacks or mistypes a field.
    """
    body = orjson.loads(line)
    record_class = _CLASSES.get(str(body.pop("kind", None))) if isinstance(body, dict) else None
    if record_class is None:
        raise ValueError("not a record of a known kind")
    for name, kind in _REQUIRED[record_class].items():
        if not isinstance(body.get(name), kind):
            raise ValueError(f"field {name!r} is missing or not of type {kind.__name__}")
    try:
        if body.get("revision") is not None or record_class is RowSettled:
            body["revision"] = _decode_revision(body["revision"])
        if record_class is CallAnswered:
            body["outcome"] = CallOutcome(body["outcome"])
        return record_class(**body)
    except (TypeError, KeyError) as error:
        raise ValueError(f"wrong fields: {error}") from error


def _decode_revision(body: dict[str, Any]) -> Revision:
    return Revision(**{**body, "status": RevisionStatus(body["status"])})


def calls_in_flight(records: Iterable[CallRecord]) -> list[CallSent]:
    """Those sent and not answered, in the order in which they were sent: spent, as far as anyone knows."""
    open_calls: dict[str, CallSent] = {}
    for record in records:
        if isinstance(record, CallSent):
            open_calls[record.call_id] = record
        elif isinstance(record, CallAnswered):
            open_calls.pop(record.call_id, None)
    return list(open_calls.values())

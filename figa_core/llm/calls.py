"""What the answer journal holds: one record for each call sent, answered, or question given up.

A call is *in flight* when its `CallSent` is journalled and its `CallAnswered` is not. The records are plain
data, so that the journal, the store and the asker can share them; none of them ever holds an API key.

On disk a record is one line of JSON whose `kind` names the class and whose other fields are the record's.
The final value of a question is a dataclass in a record that is written, and a dict in one that was read:
what takes values in knows what they are. Lines without a purpose were written by versions that asked for
revisions only, and are read as such.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

import orjson

MARK_DIGITS = 16


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

    `purpose` says what the call is for, `subject_id` what it is about. `attempt` counts from 1 and is the
    same again after a 429; `sent_at` is in seconds since the epoch. `reserved_usd` is the most the call can
    cost, None where the config has no price.
    """

    call_id: str
    purpose: str
    subject_id: str
    attempt: int
    sent_at: float
    estimated_tokens: int
    reserved_usd: float | None = None


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """How a call ended, also when it ended without an answer.

    `value` is the question's final value if this call settled it. Token counts are the provider's `usage`,
    None where it gave none; `latency_s` in seconds, `answered_at` in seconds since the epoch. `cost_usd`
    follows from them; where it is None the call's reservation counts instead. `mark` is that of the text
    that was asked about (`text_mark`), None in journals of release 0.1.
    """

    call_id: str
    purpose: str
    subject_id: str
    attempt: int
    answered_at: float
    latency_s: float
    outcome: CallOutcome
    message: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    value: Any = None
    cost_usd: float | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class RowSettled:
    """A question that got its final value apart from a call: no request carries it, its refusal was in doubt,
    or an answer to the same question was stored; then `mark` is that of the text that was asked about.
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
_REQUIRED: dict[type[CallRecord], dict[str, type]] = {
    CallSent: {**_OF_A_CALL, "sent_at": float, "estimated_tokens": int},
    CallAnswered: {**_OF_A_CALL, "answered_at": float, "latency_s": float},
    RowSettled: {"settled_at": float, "purpose": str, "subject_id": str, "value": dict},
}


def text_mark(text: str) -> str:
    """What tells one text from another: the first digits of its SHA-256."""
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
        ValueError: the line is no JSON, of an unknown kind, or lacks or mistypes a field.
    """
    body = orjson.loads(line)
    record_class = _CLASSES.get(str(body.pop("kind", None))) if isinstance(body, dict) else None
    if record_class is None:
        raise ValueError("not a record of a known kind")
    if "purpose" not in body:
        body = _of_a_revision(body)
    for name, kind in _REQUIRED[record_class].items():
        if not isinstance(body.get(name), kind):
            raise ValueError(f"field {name!r} is missing or not of type {kind.__name__}")
    if not isinstance(body.get("value"), dict | None):
        raise ValueError("field 'value' is no object")
    try:
        if record_class is CallAnswered:
            body["outcome"] = CallOutcome(body["outcome"])
        return record_class(**body)
    except (TypeError, KeyError) as error:
        raise ValueError(f"wrong fields: {error}") from error


def _of_a_revision(body: dict[str, Any]) -> dict[str, Any]:
    """A record of a version that asked for revisions only, under the names of today."""
    revision = body.pop("revision", None)
    about = body.pop("revision_id", None)
    if about is None and isinstance(revision, dict):
        about = revision.get("revision_id")
    body.pop("response_id", None)
    upgraded = {**body, "purpose": "revision", "subject_id": about}
    if "draft" in body:
        upgraded["mark"] = upgraded.pop("draft")
    return upgraded if revision is None else {**upgraded, "value": revision}


def calls_in_flight(records: Iterable[CallRecord]) -> list[CallSent]:
    """Those sent and not answered, in the order in which they were sent: spent, as far as anyone knows."""
    open_calls: dict[str, CallSent] = {}
    for record in records:
        if isinstance(record, CallSent):
            open_calls[record.call_id] = record
        elif isinstance(record, CallAnswered):
            open_calls.pop(record.call_id, None)
    return list(open_calls.values())

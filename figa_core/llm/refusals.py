"""What a reply with an error status means: about its row, about a setting, or about the whole run. Pure.

Providers use the same status for different things, and different statuses for the same thing: an empty
account is told with 400, 402, 403, 422, 429 or 500, a flagged prompt with 400 or 403. So codes and words
decide first, in the order of `_meaning`, and the status only where they say nothing. What nobody recognises
is a BAD_REQUEST, which settles no row for good.
"""

from collections.abc import Mapping

from figa_core.llm import vocabulary
from figa_core.llm.calls import CallOutcome
from figa_core.llm.error_bodies import ErrorBody, read_error_body
from figa_core.llm.reply import Reply, shorten
from figa_core.llm.retry_after import LONGEST_S, retry_after_s
from figa_core.llm.stated import read_limits

_FAILED_STATUSES = (500, 501)
_RETRIED_STATUSES = (408, 409, 424, 425, 499)
_NOTHING_THERE = (404, 405, 410)
_PARTS_OF_A_ROW = ("messages", "prompt", "input")


def read_error(status: int, body: bytes, headers: Mapping[str, str], *, now: float) -> Reply:
    """The meaning of a response with an error status; `now` in seconds since the epoch."""
    said = read_error_body(body)
    wait_s = retry_after_s(headers, now=now)
    if wait_s is None and said.retry_s is not None and said.retry_s <= LONGEST_S:
        wait_s = said.retry_s
    setting = _setting(said)
    outcome = _meaning(status, said, setting, wait_s)
    waits = outcome in (CallOutcome.RATE_LIMITED, CallOutcome.SERVER_ERROR)
    return Reply(
        outcome,
        shorten(f"HTTP {status}: {said.message or 'no message'}"),
        retry_after_s=wait_s if waits else None,
        limits=read_limits(headers),
        setting=setting,
        value_refused=setting is not None and _other_values_are_taken(said),
        status=status,
    )


def _meaning(status: int, said: ErrorBody, setting: str | None, wait_s: float | None) -> CallOutcome:
    """What an error is about, the most telling evidence first."""
    about_run = _about_run(status, said, wait_s)
    if about_run is not None:
        return about_run
    if status == 413 or vocabulary.LARGER_THAN_A_MINUTE.search(said.words):
        return CallOutcome.CONTEXT_TOO_LONG
    if status == 429 or (status < 500 and vocabulary.RATE.told(said)):
        return CallOutcome.RATE_LIMITED
    if vocabulary.FILTER.coded(said) or (400 <= status < 500 and vocabulary.FILTER.told(said)):
        return CallOutcome.REFUSED
    if setting == "response_format" and status in _FAILED_STATUSES:
        return CallOutcome.UNSUPPORTED_SETTING  # llama.cpp, of a schema that it makes no grammar of
    if status >= 500 or status in _RETRIED_STATUSES:
        return CallOutcome.SERVER_ERROR
    if vocabulary.TOO_LONG.told(said):
        return CallOutcome.CONTEXT_TOO_LONG
    if setting in vocabulary.FIELDS or said.codes & vocabulary.UNSUPPORTED_CODES:
        return CallOutcome.UNSUPPORTED_SETTING
    if setting == "model" or vocabulary.MODEL.told(said):
        return CallOutcome.UNKNOWN_MODEL
    if status < 400 or status in _NOTHING_THERE:
        return CallOutcome.WRONG_ADDRESS
    return CallOutcome.BAD_REQUEST


def _about_run(status: int, said: ErrorBody, wait_s: float | None) -> CallOutcome | None:
    """An account that is empty, a key that is wrong, a place or a model that the account may not use."""
    if status == 402 or vocabulary.QUOTA.told(said):
        return CallOutcome.NO_QUOTA
    if wait_s is None and vocabulary.QUOTA_OR_RATE.told(said):
        return CallOutcome.NO_QUOTA
    if vocabulary.ACCESS.coded(said) and not vocabulary.FILTER.told(said):
        return CallOutcome.NO_ACCESS
    if status == 429:
        return None
    if status == 401 or vocabulary.KEY.told(said):
        return CallOutcome.NO_ACCESS if vocabulary.ACCESS.told(said) else CallOutcome.BAD_KEY
    return CallOutcome.NO_ACCESS if status < 500 and vocabulary.ACCESS.told(said) else None


def _setting(said: ErrorBody) -> str | None:
    """The request's field that an error is about, by name; None for a part of the messages."""
    if vocabulary.SYSTEM_ROLE.search(said.words):
        return "system"
    if said.parameter is not None:
        if said.parameter in _PARTS_OF_A_ROW:
            return None
        return vocabulary.FIELD_NAMES.get(said.parameter, said.parameter)
    if not vocabulary.ABOUT_A_SETTING.search(said.words):
        return None
    found = vocabulary.FIELD.search(said.words)
    if found is not None:
        name = next(group for group in found.groups() if group).lower()
        return vocabulary.FIELD_NAMES.get(name, name)
    return "response_format" if vocabulary.STRUCTURED.search(said.words) else None


def _other_values_are_taken(said: ErrorBody) -> bool:
    """Whether the endpoint knows the setting, and refuses only the value that was sent."""
    about = vocabulary.ABOUT_A_SETTING.search(said.words)
    return about is not None and not vocabulary.NOT_TAKEN.told(said)

"""What an error response is about: its row, a setting, or the whole run. Pure.

Providers use one status for different errors, and different statuses for one error: an empty account gets
400, 402, 403, 422, 429 or 500, a flagged prompt 400 or 403. So codes and words decide first, in the order of
`_meaning`, and the status only if they say nothing. An error that is not recognised is a BAD_REQUEST, which
settles no row for good.
"""

from collections.abc import Mapping

from figa_core.llm import vocabulary
from figa_core.llm.calls import CallOutcome
from figa_core.llm.error_bodies import ErrorBody, read_error_body
from figa_core.llm.reply import Reply, shorten
from figa_core.llm.stated import WAIT_MAX_S, retry_after_s, wait_in_words


def read_error(status: int, body: bytes, headers: Mapping[str, str], *, now: float) -> Reply:
    """The meaning of a response with an error status; `now` in seconds since the epoch."""
    error = read_error_body(body)
    wait_s = retry_after_s(headers, now=now)
    if wait_s is None and error.retry_s is not None and error.retry_s <= WAIT_MAX_S:
        wait_s = error.retry_s
    if wait_s is None and status == 429:  # not every proxy passes on headers and details
        wait_s = wait_in_words(error.words)
    setting = _setting(error)
    outcome = _meaning(status, error, setting, wait_s)
    waits = outcome in (CallOutcome.RATE_LIMITED, CallOutcome.SERVER_ERROR)
    return Reply(
        outcome,
        shorten(f"HTTP {status}: {error.message or 'no message'}"),
        retry_after_s=wait_s if waits else None,
        setting=setting,
        value_refused=setting is not None and _knows_setting(error),
        status=status,
    )


def _meaning(status: int, error: ErrorBody, setting: str | None, wait_s: float | None) -> CallOutcome:
    """What an error is about, by the strongest evidence first."""
    if (about_run := _about_run(status, error, wait_s)) is not None:
        return about_run
    if status == 413 or vocabulary.LARGER_THAN_A_MINUTE.search(error.words):
        return CallOutcome.CONTEXT_TOO_LONG
    if status == 429 or (status < 500 and vocabulary.RATE.matches(error)):
        return CallOutcome.RATE_LIMITED
    if vocabulary.FILTER.has_code(error) or (400 <= status < 500 and vocabulary.FILTER.matches(error)):
        return CallOutcome.REFUSED
    if setting == "response_format" and status in (500, 501):
        return CallOutcome.UNSUPPORTED_SETTING  # llama.cpp, if it cannot make a grammar of a schema
    if status >= 500 or status in (408, 409, 424, 425, 499):
        return CallOutcome.SERVER_ERROR
    if vocabulary.TOO_LONG.matches(error):
        return CallOutcome.CONTEXT_TOO_LONG
    if setting in vocabulary.FIELDS or error.codes & vocabulary.UNSUPPORTED_CODES:
        return CallOutcome.UNSUPPORTED_SETTING
    if setting == "model" or vocabulary.MODEL.matches(error):
        return CallOutcome.UNKNOWN_MODEL
    if status < 400 or status in (404, 405, 410):
        return CallOutcome.WRONG_ADDRESS
    return CallOutcome.BAD_REQUEST


def _about_run(status: int, error: ErrorBody, wait_s: float | None) -> CallOutcome | None:
    """Whether an account is empty, a key invalid, or a model or region closed to the account."""
    if status == 402 or vocabulary.QUOTA.matches(error):
        return CallOutcome.NO_QUOTA
    if wait_s is None and vocabulary.QUOTA_OR_RATE.matches(error):
        return CallOutcome.NO_QUOTA
    if vocabulary.ACCESS.has_code(error) and not vocabulary.FILTER.matches(error):
        return CallOutcome.NO_ACCESS
    if status == 429:
        return None
    if status == 401 or vocabulary.KEY.matches(error):
        return CallOutcome.NO_ACCESS if vocabulary.ACCESS.matches(error) else CallOutcome.BAD_KEY
    return CallOutcome.NO_ACCESS if status < 500 and vocabulary.ACCESS.matches(error) else None


def _setting(error: ErrorBody) -> str | None:
    """The name of the request's field that an error is about; None for the messages."""
    if vocabulary.SYSTEM_ROLE.search(error.words):
        return "system"
    if error.parameter is not None:
        if error.parameter in ("messages", "prompt", "input"):
            return None
        return vocabulary.FIELD_NAMES.get(error.parameter, error.parameter)
    if not vocabulary.ABOUT_A_SETTING.search(error.words):
        return None
    if (found := vocabulary.FIELD.search(error.words)) is not None:
        name = next(group for group in found.groups() if group).lower()
        return vocabulary.FIELD_NAMES.get(name, name)
    return "response_format" if vocabulary.STRUCTURED.search(error.words) else None


def _knows_setting(error: ErrorBody) -> bool:
    """Whether the endpoint knows the setting and refuses only the value that was sent."""
    about = vocabulary.ABOUT_A_SETTING.search(error.words)
    return about is not None and not vocabulary.NOT_TAKEN.matches(error)

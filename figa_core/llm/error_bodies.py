"""Reads the bodies of errors from providers and proxies: their message, words and codes. Pure.

A body is an object with `error`, a list of such objects, a plain string, FastAPI's `detail`, a page of HTML,
or a proxy's body that quotes the provider's. What it quotes of the request (`input`, `flagged_input` …) is
left out: a draft about credit cards says nothing about an account.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

_DEPTH_MAX = 8
_MESSAGE_KEYS = (
    "message", "Message", "detail", "msg", "error_msg", "status_msg", "error_description", "faultstring",
    "description", "title", "error",
)  # fmt: skip
_CODE_KEYS = {
    "code", "type", "status", "reason", "error", "error_type", "error_code", "__type", "status_code",
}  # fmt: skip
_QUOTED_REQUEST = {"input", "flagged_input", "messages", "prompt", "request", "body", "headers", "example"}
_FIRST_OF_LOCATION = {"body", "query", "request"}
_LONG_QUOTE = re.compile(r"\"[^\"]{60,}\"|(?<!\w)'[^']{60,}'|`[^`]{60,}`")
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_LOCATION = re.compile(r"'loc': [\[(]([^\])]*)")
_MARKUP = re.compile(r"<[^>]*>")
_PAGE_STARTS = ("<!doctype html", "<html", "<head", "<center", "<h1")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The content of an error."""

    message: str = ""  # for people
    words: str = ""  # all words and codes, to find out what the error is about
    codes: frozenset[str] = frozenset()  # codes and types, in lower case
    parameter: str | None = None  # the request's field that it names
    retry_s: float | None = None  # seconds after which to ask again


def read_error_body(body: bytes) -> ErrorBody:
    """The content of `body`; all fields are empty if it is."""
    text = body.decode("utf-8", "replace").strip()
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        message = _page_title(text) if text[:200].lower().startswith(_PAGE_STARTS) else text
        return ErrorBody(message, _LONG_QUOTE.sub("…", message), parameter=_location_in(text))
    nodes = list(_nodes(data))
    leaves = [(key, str(value)) for key, value in nodes if type(value) in (str, int, float)]
    words = [value for _, value in leaves]
    parameters = (_parameter(value) for _, value in nodes if isinstance(value, dict))
    return ErrorBody(
        _message(data) or text,
        _LONG_QUOTE.sub("…", "\n".join(words)) if words else text,
        frozenset(value.lower() for key, value in leaves if key in _CODE_KEYS and len(value) < 80),
        next(filter(None, (*parameters, *map(_location_in, words))), None),
        _retry_delay(leaves),
    )


def _nodes(data: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Keys and values at all depths: quoted JSON is opened, and what quotes the request is left out."""
    if depth > _DEPTH_MAX:
        return
    if isinstance(data, str) and (opened := _quoted_json(data)) is not None:
        yield from _nodes(opened, key, depth + 1)
        return
    yield key, data
    if isinstance(data, dict):
        for name, value in data.items():
            if name not in _QUOTED_REQUEST:
                yield from _nodes(value, name, depth + 1)
    elif isinstance(data, list):
        for value in data:
            yield from _nodes(value, key, depth + 1)


def _message(data: Any, depth: int = 0) -> str:
    """The message for people, with that of a provider behind a proxy."""
    if depth > _DEPTH_MAX:
        return ""
    if isinstance(data, str):
        return _message(_quoted_json(data), depth + 1) or data.strip()
    if isinstance(data, list):
        return "; ".join(filter(None, (_message(item, depth + 1) for item in data[:3])))
    if not isinstance(data, dict):
        return ""
    inner = data.get("error")
    if isinstance(inner, dict | list) and (found := _message(inner, depth + 1)):
        return found
    for key in _MESSAGE_KEYS:
        if data.get(key) and (found := _message(data[key], depth + 1)):
            return found + _behind_proxy(data, found, depth) + _place(data)
    if data.get("errors"):
        return _message(data["errors"], depth + 1)
    inner_objects = (value for value in data.values() if isinstance(value, dict))  # such as "base_resp"
    return next(filter(None, (_message(value, depth + 1) for value in inner_objects)), "")


def _behind_proxy(data: dict[str, Any], found: str, depth: int) -> str:
    metadata = data.get("metadata")
    original = _message(metadata.get("raw"), depth + 1) if isinstance(metadata, dict) else ""
    return f" ({original})" if original and original != found else ""


def _place(data: dict[str, Any]) -> str:
    """The place in the request, as in pydantic's errors."""
    location = data.get("loc")
    return f" ({'.'.join(map(str, location))})" if isinstance(location, list) and location else ""


def _parameter(data: dict[str, Any]) -> str | None:
    """The field named by `param` or by pydantic's `loc`, without what follows it."""
    if isinstance(data.get("param"), str) and data["param"]:
        return _field(re.split(r"[.\[]", data["param"]))
    return _field([str(part) for part in data["loc"]]) if isinstance(data.get("loc"), list) else None


def _location_in(text: str) -> str | None:
    """The field of a pydantic error that was printed into a message."""
    found = _LOCATION.search(text)
    return _field(re.findall(r"'([^']*)'", found.group(1))) if found else None


def _field(parts: list[str]) -> str | None:
    while parts and parts[0] in _FIRST_OF_LOCATION:
        parts = parts[1:]
    return parts[0] if parts and parts[0] else None


def _retry_delay(leaves: list[tuple[str, str]]) -> float | None:
    """Google's `retryDelay`, such as "12s"."""
    for key, value in leaves:
        if key == "retryDelay" and (found := re.fullmatch(r"(\d+(?:\.\d+)?)s", value)):
            return float(found.group(1))
    return None


def _quoted_json(text: str) -> Any:
    """The object or list in a text; None for plain text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _page_title(text: str) -> str:
    found = _TITLE.search(text)
    words = found.group(2) if found else text[:2000]
    return f"a page of HTML: {' '.join(html.unescape(_MARKUP.sub(' ', words)).split())[:200]}"

"""The shapes in which providers and proxies put an error: what was said, and under which codes. Pure.

An object with `error`, a list of such objects, a bare string, `detail` as FastAPI has it, a page of HTML, or
the body of the provider behind a proxy, quoted as text in the proxy's own. What a provider quotes of the
request (`input`, `flagged_input` …) is left out: a draft about credit cards says nothing about an account.
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


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error said.

    Attributes:
        message: for people.
        words: everything that was said in words and codes, for finding what it means.
        codes: the codes and types alone, in lower case.
        parameter: the request's field that it names as such, if any.
        retry_s: seconds after which to ask again, where the body says so.
    """

    message: str = ""
    words: str = ""
    codes: frozenset[str] = frozenset()
    parameter: str | None = None
    retry_s: float | None = None


def read_error_body(body: bytes) -> ErrorBody:
    """What `body` says; an empty one says nothing."""
    text = body.decode("utf-8", "replace").strip()
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        message = _page_title(text) if _is_page(text) else text
        return ErrorBody(message, _without_long_quotes(message), parameter=_location_in(text))
    leaves = list(_leaves(data))
    said = [str(value) for _, value in leaves]
    return ErrorBody(
        _message(data) or text,
        _without_long_quotes("\n".join(said)) if said else text,
        frozenset(str(value).lower() for key, value in leaves if key in _CODE_KEYS and len(str(value)) < 80),
        _parameter(data) or next(filter(None, map(_location_in, said)), None),
        _retry_delay(leaves),
    )


def _leaves(data: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Keys and their texts and numbers, quoted JSON opened, what quotes the request left out."""
    if depth > _DEPTH_MAX:
        return
    if isinstance(data, dict):
        for name, value in data.items():
            if name not in _QUOTED_REQUEST:
                yield from _leaves(value, name, depth + 1)
    elif isinstance(data, list):
        for value in data:
            yield from _leaves(value, key, depth + 1)
    elif isinstance(data, str) and (opened := _quoted_json(data)) is not None:
        yield from _leaves(opened, key, depth + 1)
    elif isinstance(data, str) or type(data) in (int, float):
        yield key, data


def _message(data: Any, depth: int = 0) -> str:
    """The sentence for people, with what a provider behind a proxy said."""
    if depth > _DEPTH_MAX:
        return ""
    if isinstance(data, str):
        return _message(_quoted_json(data), depth + 1) or data.strip()
    if isinstance(data, list):
        parts = [part for part in (_message(item, depth + 1) for item in data[:3]) if part]
        return "; ".join(parts)
    if not isinstance(data, dict):
        return ""
    inner = data.get("error")
    if isinstance(inner, dict | list) and (found := _message(inner, depth + 1)):
        return found
    for key in _MESSAGE_KEYS:
        if data.get(key) and (found := _message(data[key], depth + 1)):
            return found + _behind_proxy(data, found, depth) + _place(data)
    return _message(data["errors"], depth + 1) if data.get("errors") else _first_object(data, depth)


def _first_object(data: dict[str, Any], depth: int) -> str:
    """For bodies such as {"base_resp": {"status_msg": …}}."""
    found = (_message(value, depth + 1) for value in data.values() if isinstance(value, dict))
    return next(filter(None, found), "")


def _behind_proxy(data: dict[str, Any], said: str, depth: int) -> str:
    metadata = data.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    original = _message(raw, depth + 1)
    return f" ({original})" if original and original != said else ""


def _place(data: dict[str, Any]) -> str:
    """Where in the request, as pydantic's errors have it."""
    location = data.get("loc")
    if not isinstance(location, list) or not location:
        return ""
    return f" ({'.'.join(map(str, location))})"


def _parameter(data: Any, depth: int = 0) -> str | None:
    """The field named by `param` or by a pydantic `loc`, without what follows it."""
    if depth > _DEPTH_MAX:
        return None
    if isinstance(data, str) and (opened := _quoted_json(data)) is not None:
        return _parameter(opened, depth + 1)
    if isinstance(data, list):
        return next(filter(None, (_parameter(item, depth + 1) for item in data)), None)
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("param"), str) and data["param"]:
        return _field(re.split(r"[.\[]", data["param"]))
    if isinstance(data.get("loc"), list):
        return _field([str(part) for part in data["loc"]])
    inner = (value for name, value in data.items() if name not in _QUOTED_REQUEST)
    return next(filter(None, (_parameter(value, depth + 1) for value in inner)), None)


def _location_in(text: str) -> str | None:
    """The field of a pydantic error that was printed into a message."""
    found = _LOCATION.search(text)
    return _field(re.findall(r"'([^']*)'", found.group(1))) if found else None


def _field(parts: list[str]) -> str | None:
    while parts and parts[0] in _FIRST_OF_LOCATION:
        parts = parts[1:]
    return parts[0] if parts and parts[0] else None


def _retry_delay(leaves: list[tuple[str, Any]]) -> float | None:
    """Google's `retryDelay`, such as "12s"."""
    for key, value in leaves:
        if key == "retryDelay" and (found := re.fullmatch(r"(\d+(?:\.\d+)?)s", str(value))):
            return float(found.group(1))
    return None


def _quoted_json(text: str) -> Any:
    """The object or list that a text holds; None where it is only text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _is_page(text: str) -> bool:
    return text[:200].lower().startswith(("<!doctype html", "<html", "<head", "<center", "<h1"))


def _page_title(text: str) -> str:
    found = _TITLE.search(text)
    words = found.group(2) if found else text[:2000]
    return f"a page of HTML: {' '.join(html.unescape(_MARKUP.sub(' ', words)).split())[:200]}"


def _without_long_quotes(text: str) -> str:
    return _LONG_QUOTE.sub("…", text)

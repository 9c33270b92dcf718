"""Reads the body of a 2xx response: whether it has an answer, and which part of it is the answer.

The shape is OpenAI's chat completion, or what compatible servers send instead: content as a list of parts,
the legacy `text`, a stream that was not asked for, half a surrogate pair, numbers that strict parsers refuse,
and errors despite the status, which are read like any other error (`read_error`). Anything else is malformed;
nothing is guessed to be an answer.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypedDict

import orjson

from figa_core.llm.calls import CallOutcome
from figa_core.llm.characters import whole_characters
from figa_core.llm.finish import End, read_finish
from figa_core.llm.refusals import read_error
from figa_core.llm.reply import Reply, shorten

_TEXT_PARTS = {None, "text", "output_text", "input_text"}
_OTHER_PARTS = {"thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text", "thought"}
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
_ERROR_FIELDS = ("error", "errors", "detail", "error_msg", "error_message", "message", "msg", "base_resp")
_CODE_FIELDS = ("code", "status", "status_code", "error_code", "http_code")
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)
_COMMENTS = re.compile(r"\A(?::[^\n]*\s+)+")
_UNSTATED_STATUS = 500  # of an error without a status: retried like any error of a provider


class _Usage(TypedDict):
    prompt_tokens: int | None
    completion_tokens: int | None


class _Content(NamedTuple):
    """The text of a message's content, or the `problem` with it."""

    text: str | None
    problem: str | None = None
    refusal: str | None = None


def read_completion(body: bytes, *, address: str = "base_url") -> Reply:
    """The meaning of a 2xx response; `address` is the setting to check if it is no completion at all."""
    try:
        data = _decode(body, address)
    except (*_UNREADABLE, RecursionError) as error:
        return Reply(CallOutcome.MALFORMED, shorten(f"{error} in {len(body)} bytes: {_shown(body)}"))
    if isinstance(data, list) and len(data) == 1:  # as some gateways send it
        data = data[0]
    if not isinstance(data, dict):
        return Reply(CallOutcome.MALFORMED, f"the body is a JSON {type(data).__name__}, not an object")
    if _is_error(data):
        return _read_wrapped_error(data)
    if "choices" not in data:
        return Reply(CallOutcome.MALFORMED, f"the body has no choices: {_shown(body)}")
    usage = _token_counts(data.get("usage"))
    if not data["choices"]:
        return Reply(CallOutcome.EMPTY_CHOICES, "the list of choices is empty", **usage)
    try:
        return _read_choice(_first(data["choices"]), usage)
    except _UNREADABLE as error:
        return Reply(CallOutcome.MALFORMED, shorten(f"not a chat completion: {error!r}"), **usage)


def _decode(body: bytes, address: str) -> Any:
    """The body's JSON, read as leniently as other clients do.

    Raises:
        ValueError, RecursionError: it is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as strict:
        text = body.decode(json.detect_encoding(body), "replace").lstrip("\ufeff").strip()
        if text.startswith(("data:", ":", "event:")):
            rest = _COMMENTS.sub("", text)  # keep-alive comments before a body that is no stream
            return _whole(json.loads(rest, strict=False)) if rest.startswith("{") else _join_stream(text)
        if text.startswith("<"):
            raise ValueError(f"a page of HTML or XML instead of JSON: check {address}") from strict
        data, end = json.JSONDecoder(strict=False).raw_decode(text)
        if "{" in text[end:]:  # a word that a proxy appended does not matter
            raise ValueError("two bodies in one") from strict
        return _whole(data)


def _join_stream(text: str) -> dict[str, Any]:
    """The completion that a stream of server-sent events adds up to.

    Raises:
        ValueError: an event is not JSON, or the stream ends before the answer does.
    """
    # A text may have other line ends in it (U+2028), which `splitlines` would take for ends of events.
    events = [line[5:].strip() for line in re.split(r"\r\n|\n|\r", text) if line.startswith("data:")]
    chunks = [_whole(json.loads(event, strict=False)) for event in events if event not in ("", "[DONE]")]
    chunks = [chunk for chunk in chunks if isinstance(chunk, dict)]
    failed = next((chunk for chunk in chunks if _is_error(chunk)), None)
    if failed is not None:
        return failed
    choices = [choice for chunk in chunks if chunk.get("choices") for choice in _of_first(chunk["choices"])]
    finish = next((choice["finish_reason"] for choice in choices if choice.get("finish_reason")), None)
    if finish is None and "[DONE]" not in events:
        raise ValueError("a stream that breaks off")
    parts = [choice.get("delta") or choice.get("message") or choice for choice in choices]
    usage = next((chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage")), None)
    message = {
        "content": "".join(_read_content(part.get("content")).text or "" for part in parts),
        "refusal": "".join(part["refusal"] for part in parts if isinstance(part.get("refusal"), str)),
    }
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def _is_error(data: Mapping[str, Any]) -> bool:
    """Whether an object says that something failed, and holds no answer."""
    failed = any(data.get(name) for name in _ERROR_FIELDS)
    return bool(data.get("error") or (failed and not data.get("choices")))


def _of_first(choices: Any) -> list[dict[str, Any]]:
    """The parts of the first choice in one chunk of a stream; a chunk may be of another choice alone."""
    first = _first(choices)
    return [first] if first.get("index") in (0, None) else []


def _first(choices: Any) -> dict[str, Any]:
    """The choice with index 0: one answer was asked for."""
    if not isinstance(choices, list):
        raise TypeError("choices is not a list")
    first = next((c for c in choices if isinstance(c, dict) and c.get("index") == 0), choices[0])
    if not isinstance(first, dict):
        raise TypeError("a choice is not an object")
    return first


def _read_choice(choice: dict[str, Any], usage: _Usage) -> Reply:
    message = choice.get("message") or choice.get("delta")
    if message is None and "text" in choice:  # a legacy completion
        message = {"content": choice["text"]}
    if not isinstance(message, dict):
        raise TypeError("a choice without a message")
    if failure := choice.get("error") or message.get("error"):
        return replace(_read_wrapped_error({"error": failure}), **usage)
    content = _read_content(message.get("content"))
    refusal = message.get("refusal") or content.refusal
    refusal = None if not refusal else refusal if isinstance(refusal, str) else orjson.dumps(refusal).decode()
    finish = _finish_of(choice)
    end = read_finish(finish)
    if end is End.BROKEN:
        note = f"the provider broke off the answer (finish_reason {finish!r})"
        return Reply(CallOutcome.SERVER_ERROR, note, content.text, finish, **usage)
    outcome, note = CallOutcome.ANSWERED, content.problem or _thoughts_only(message, content.text)
    if refusal or end is End.REFUSED:
        outcome = CallOutcome.REFUSED
        note = shorten(refusal) if refusal else f"content filter (finish_reason {finish!r})"
    elif end is End.CUT:
        outcome = CallOutcome.CUT_BY_LENGTH
    return Reply(outcome, note, content.text, finish, refusal, **usage)


def _finish_of(choice: Mapping[str, Any]) -> str | None:
    """How a choice says that it ended. What a gateway says of the provider behind it counts if it is worse:
    some call a cut answer whole.
    """
    reason = choice.get("finish_reason")
    for name in ("native_finish_reason", "stop_reason"):
        other = choice.get(name)
        known = read_finish(other) if isinstance(other, str) else End.UNSTATED
        if known in (End.CUT, End.REFUSED, End.BROKEN) and read_finish(reason) in (End.WHOLE, End.UNSTATED):
            return str(other)
    return reason if reason is None or isinstance(reason, str) else str(reason)


def _read_content(content: Any) -> _Content:
    """A string, or the joined text of a list of parts without thoughts; an object is JSON already decoded."""
    if content is None or isinstance(content, str):
        return _Content(content)
    if isinstance(content, dict):
        if content.get("type") in ("text", "output_text") and "text" in content:
            return _read_content([content])
        return _Content(orjson.dumps(content).decode())
    if not isinstance(content, list):
        raise ValueError(f"content is a {type(content).__name__}")
    texts, others, refusals = [], [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and kind in _TEXT_PARTS and _part_text(part) is not None:
            texts.append(_part_text(part))
        elif kind == "refusal":
            refusals.append(str(part.get("refusal") or part.get("text") or "a part of type 'refusal'"))
        elif kind not in _OTHER_PARTS:
            others.append(f"a part of type {kind!r}")
    if others:
        return _Content(None, f"content is a list with {others[0]}, which is no text")
    problem = None if texts else "content is a list without a text"
    return _Content("".join(texts) if texts else None, problem, " ".join(refusals) or None)


def _part_text(part: dict[str, Any]) -> str | None:
    text = part.get("text")
    text = text.get("value") if isinstance(text, dict) else text
    return text if isinstance(text, str) else None


def _thoughts_only(message: Mapping[str, Any], text: str | None) -> str | None:
    """Why a message has no text, if it has thoughts or a tool call instead."""
    if text and text.strip():
        return None
    field = next((name for name in _THOUGHT_FIELDS if message.get(name)), None)
    if field is not None:
        return f"the message has thoughts ({field}) and no answer"
    return "the message calls a tool instead of answering" if message.get("tool_calls") else None


def _read_wrapped_error(data: dict[str, Any]) -> Reply:
    """An error in a 2xx response, read as if it had the status that it names."""
    error = {name: value for name, value in data.items() if name not in ("choices", "usage")}
    status = next(_statuses(error), _UNSTATED_STATUS)
    return read_error(status, json.dumps(error).encode(), {}, now=0.0)


def _statuses(error: Any) -> Iterator[int]:
    """The HTTP statuses in an error's codes, at any depth."""
    if isinstance(error, dict):
        for name, value in error.items():
            if name not in _CODE_FIELDS:
                yield from _statuses(value)
            elif isinstance(value, int | str) and str(value).isdecimal() and 400 <= int(value) < 600:
                yield int(value)
    elif isinstance(error, list):
        for value in error:
            yield from _statuses(value)


def _token_counts(usage: Any) -> _Usage:
    """What was billed; None for what is not stated.

    No request has no prompt: a server that counts none counts nothing. Some leave thoughts out of the
    completion's tokens and bill them in the total.
    """

    def count(name: str) -> int | None:
        value = usage.get(name) if isinstance(usage, dict) else None
        return value if type(value) is int and value >= 0 else None

    prompt, completion, total = map(count, ("prompt_tokens", "completion_tokens", "total_tokens"))
    if prompt == 0:
        return {"prompt_tokens": None, "completion_tokens": None}
    if prompt is not None and completion is not None and total is not None:
        completion = max(completion, total - prompt)
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def _whole(value: Any) -> Any:
    """`value` with whole characters in all of its texts (`whole_characters`)."""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, dict):
        return {_whole(name): _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _shown(body: bytes) -> str:
    return repr(body.decode("utf-8", "replace")[:80])

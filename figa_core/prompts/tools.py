"""Reads the tools of a row and the calls in its messages, in OpenAI's form, which chat templates expect.

Arguments may be text, as OpenAI writes them: templates print them as JSON, so they become objects. Parquet
gives every object the fields of all others: those without a value are left out.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from figa_core.records import TOOLS, Message

TOOL_CALLS = "tool_calls"
_OF_RESULTS = ("tool_call_id", "name")
_RESULT_ROLES = ("tool", "function", "ipython")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def parse_tools(value: object) -> Message | str | None:
    """The message that holds a row's tools; None without tools, and what is wrong with them if they are not.

    A list, or its text as JSON; each tool a function, with or without `{"type": "function"}` around it.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except ValueError as error:
            return f"the row's tools are not JSON: {error}"
    if value is None or value != value or value == []:
        return None
    tools = [_function(tool) for tool in value] if isinstance(value, list) else [None]
    if None in tools:
        return "the row's tools are not a list of functions with a name each"
    text = json.dumps(tools, ensure_ascii=False)
    if _HALF_CHARACTER.search(text):
        return "the row's tools cannot be used: they hold half a character (a lone surrogate)"
    return Message(TOOLS, text)


def parse_calls(message: Mapping[str, Any]) -> dict[str, Any] | str:
    """The fields of a chat message that are about tools, or what is wrong with them."""
    found: dict[str, Any] = {}
    if message.get("role") in _RESULT_ROLES:
        found = {name: message[name] for name in _OF_RESULTS if message.get(name)}
        if not all(isinstance(value, str) for value in found.values()):
            return "a chat message has a tool_call_id or name that is not a text"
    calls = message.get(TOOL_CALLS)
    if not calls:
        return found
    if message.get("role") != "assistant":
        return "a chat message has tool_calls, and is not the assistant's"
    parsed = [_call(call) for call in calls] if isinstance(calls, list) else [None]
    if None in parsed:
        return "a chat message has tool_calls that are not a list of functions with a name and arguments each"
    if _HALF_CHARACTER.search(json.dumps(parsed, ensure_ascii=False)):
        return "a chat message has tool_calls with half a character in them (a lone surrogate)"
    return {**found, TOOL_CALLS: parsed}


def _function(tool: object) -> dict[str, Any] | None:
    tool = _present(tool)
    inner = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(tool, dict) or not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        return None
    return tool if inner is not tool else {"type": "function", "function": tool}


def _call(call: object) -> dict[str, Any] | None:
    """A call with its arguments as an object; None if it is not one."""
    whole = _function(call)
    if whole is None:
        return None
    arguments = whole["function"].get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError:
            return None
    if not isinstance(arguments, dict):
        return None
    return {**whole, "function": {**whole["function"], "arguments": arguments}}


def _present(value: object) -> Any:
    """The value without fields that have none, at all depths."""
    if isinstance(value, dict):
        return {str(name): _present(each) for name, each in value.items() if each is not None}
    return [_present(each) for each in value] if isinstance(value, list) else value

"""Which conversations a chat template accepts, and whether it prints all of their messages.

A template may refuse a role (Gemma's refuses system messages), or ignore it silently, or the tools and their
calls: then the model would get another prompt than the data holds. This depends on the order of the roles, so
each order is tried once, on a conversation with marked contents.
"""

import json
from functools import lru_cache

from figa_core.chat.format import ChatFormat
from figa_core.errors import InputError
from figa_core.records import TOOLS, Message

_ORDERS_KNOWN = 1024
_CALL_ID = "figacall1"  # nine letters and digits, as Mistral's templates demand
_BEFORE_TURNS = ("system", "developer", TOOLS)
_RESULT = {"tool_call_id": _CALL_ID, "name": "figatool"}

_Turn = tuple[str, bool, bool]
"""A message's role, whether it calls tools, and whether it has a text."""


class TemplateRoles:
    """How one chat template treats the roles of a conversation."""

    def __init__(self, chat: ChatFormat) -> None:
        self._chat = chat
        self._try = lru_cache(_ORDERS_KNOWN)(self._try_turns)

    def refusal(self, messages: tuple[Message, ...], *, answered: bool) -> str | None:
        """Why the template refuses these roles, followed by an answer if `answered`; None if it does not."""
        refused, _ = self._try(self._turns(messages, answered), answered)
        return refused

    def left_out(self, messages: tuple[Message, ...]) -> str | None:
        """What the template does not print, such as "what role 'system' says"; None if it prints all."""
        _, left_out = self._try(self._turns(messages, False), False)
        return next((found for found in left_out if found), None)

    def left_out_of_the_end(self, messages: tuple[Message, ...]) -> str | None:
        """As `left_out`, before an answer, by a template that may print the last turns only.

        What comes before all turns (system messages and tools) is expected nevertheless, and so are the last
        turn before the answer and every turn after one that is printed.
        """
        turns = self._turns(messages, True)
        _, left_out = self._try(turns, True)
        begun = False
        for number, ((role, calls, has_text), found) in enumerate(zip(turns, left_out, strict=False)):
            is_turn = role not in _BEFORE_TURNS
            if found and (begun or not is_turn or number == len(turns) - 2):
                return found
            begun = begun or (is_turn and (calls or has_text) and not found)
        return None

    def _turns(self, messages: tuple[Message, ...], answered: bool) -> tuple[_Turn, ...]:
        turns = tuple((m.role, "tool_calls" in m.more, bool(m.content)) for m in messages)
        return (*turns, ("assistant", False, True)) if answered else turns

    def _try_turns(
        self, turns: tuple[_Turn, ...], answered: bool
    ) -> tuple[str | None, tuple[str | None, ...]]:
        """Why the template refuses the turns; otherwise what it leaves out of each."""
        marked = [_marked(f"figamark{number}end", *turn) for number, turn in enumerate(turns)]
        try:
            text = self._chat.render(marked, for_generation=not answered).casefold()
        except InputError as error:
            return str(error), ()
        return None, tuple(_left_out(text, number, *turn) for number, turn in enumerate(turns))


def _marked(mark: str, role: str, calls: bool, has_text: bool) -> Message:
    """A message like one with this role, with `mark` in its text and its tools."""
    function = {"name": f"{mark}tool", "description": "", "parameters": {"type": "object", "properties": {}}}
    if role == TOOLS:
        return Message(TOOLS, json.dumps([{"type": "function", "function": function}]))
    fields = {"role": role, "content": mark if has_text else ""}
    if calls:
        called = {"name": f"{mark}tool", "arguments": {}}
        return Message.of(
            {**fields, "tool_calls": [{"id": _CALL_ID, "type": "function", "function": called}]}
        )
    return Message.of(
        {**fields, **({"tool_call_id": _CALL_ID, "name": "figatool"} if role == "tool" else {})}
    )


def _left_out(text: str, number: int, role: str, calls: bool, has_text: bool) -> str | None:
    mark = f"figamark{number}end"
    if role == TOOLS:
        return None if f"{mark}tool" in text else "the tools"
    if has_text and mark not in text.replace(f"{mark}tool", ""):
        return f"what role {role!r} says"
    if calls and f"{mark}tool" not in text:
        return f"the tool calls of role {role!r}"
    return None

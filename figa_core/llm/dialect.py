"""The optional request fields that an endpoint supports, and their names: learnt from its refusals.

What one refusal shows holds for the rest of the run. An unsupported field is left out or renamed
(`max_tokens`); the text of an unsupported system message goes before the user's. A refused *value* ends the
run, and the user decides: without temperature 0, the provider would silently sample at its default. Pure
except for what it has learnt.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from figa_core.llm.question import ChatMessages, Decoding
from figa_core.llm.reply import Reply

LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
STRUCTURED = "response_format"


class Dialect:
    """Makes the requests of one run, without the model.

    Args:
        leave_out: fields never sent: "max_tokens" (under either name) and "stream".
        bounded: every request limits the answer's length, because a budget relies on it.
        on_note: gets a sentence for people whenever something was learnt.
    """

    def __init__(
        self, *, leave_out: Collection[str] = (), bounded: bool, on_note: Callable[[str], None]
    ) -> None:
        self._not_taken = set(leave_out) - {"max_tokens"}
        self._limit_names = [] if "max_tokens" in leave_out else list(LIMIT_NAMES)
        self._bounded = bounded
        self._system_role = True
        self._on_note = on_note

    def fields(self, decoding: Decoding, max_tokens: int) -> dict[str, Any]:
        """The request's fields without model and messages, for an answer of at most `max_tokens`."""
        fields: dict[str, Any] = {"stream": False}
        if decoding.temperature is not None:
            fields["temperature"] = decoding.temperature
        if decoding.response_format is not None:
            fields[STRUCTURED] = decoding.response_format
        for name in self._not_taken:
            fields.pop(name, None)
        return {**fields, **dict.fromkeys(self._limit_names[:1], max_tokens)}

    def messages(self, messages: ChatMessages) -> ChatMessages:
        """`messages`, with the system's text before the user's if the model supports no system message."""
        if self._system_role or not messages or messages[0]["role"] != "system":
            return messages
        system, *others = messages
        if not others:
            return [{**system, "role": "user"}]
        first = {**others[0], "content": f"{system['content']}\n\n{others[0]['content']}"}
        return [first, *others[1:]]

    def adapt(self, reply: Reply, asked: Mapping[str, Any]) -> bool:
        """Learn from the refusal of the request `asked`; return whether another request may succeed."""
        setting = reply.setting
        if setting == "system":
            return any(message["role"] == "system" for message in asked["messages"]) and self._merge_system()
        if setting is None or setting == "messages" or setting not in asked:
            return False
        if setting in LIMIT_NAMES:
            return not reply.value_refused and self._rename_limit(setting)
        if setting == "temperature" and reply.value_refused:
            return False
        if setting not in self._not_taken:
            self._not_taken.add(setting)
            self._on_note(f"the endpoint does not support {setting}: left out from now on ({reply.message})")
        return True

    def _rename_limit(self, refused: str) -> bool:
        if self._limit_names[:1] != [refused]:
            return True  # another call under way has done it
        if len(self._limit_names) == 1 and self._bounded:
            return False
        del self._limit_names[0]
        then = f"sent as {self._limit_names[0]}" if self._limit_names else "left out"
        self._on_note(f"the endpoint does not support {refused}: {then} from now on")
        return True

    def _merge_system(self) -> bool:
        if self._system_role:
            self._system_role = False
            self._on_note("the model supports no system message: its text goes before the user's from now on")
        return True

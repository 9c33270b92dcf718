"""Which of a request's optional fields an endpoint takes, and under which name: learnt from its refusals.

What one refusal teaches holds for the rest of the run. A field that is not known is left out, or renamed
(`max_tokens`); a system message that is not taken goes before the user's. A *value* that is refused is
another matter: temperature 0 left out would silently sample at the provider's default, so that ends the run
in words, and the user decides. Pure but for what it has learnt.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from figa_core.llm.question import ChatMessages, Decoding
from figa_core.llm.reply import Reply

LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
SYSTEM = "system"
STRUCTURED = "response_format"


class Dialect:
    """What the requests of one run carry besides the model.

    Args:
        leave_out: of "max_tokens" (under each of its names) and "stream", what is never sent.
        bounded: a request always says how long the answer may be, because a budget relies on it.
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
        """The request's fields besides model and messages, for an answer of so many tokens."""
        fields: dict[str, Any] = {"stream": False}
        if decoding.temperature is not None:
            fields["temperature"] = decoding.temperature
        if decoding.response_format is not None:
            fields[STRUCTURED] = decoding.response_format
        for name in self._not_taken:
            fields.pop(name, None)
        return {**fields, **dict.fromkeys(self._limit_names[:1], max_tokens)}

    def messages(self, messages: ChatMessages) -> ChatMessages:
        """`messages`, with the system's put before the user's where the model takes none."""
        if self._system_role or not messages or messages[0]["role"] != "system":
            return messages
        system, *others = messages
        if not others:
            return [{**system, "role": "user"}]
        first = {**others[0], "content": f"{system['content']}\n\n{others[0]['content']}"}
        return [first, *others[1:]]

    def adapt(self, reply: Reply, asked: Mapping[str, Any]) -> bool:
        """Take in that the request `asked` was refused; whether asking in another way may help."""
        setting = reply.setting
        if setting == SYSTEM:
            return any(message["role"] == SYSTEM for message in asked["messages"]) and self._merge_system()
        if setting is None or setting == "messages" or setting not in asked:
            return False
        if setting in LIMIT_NAMES:
            return not reply.value_refused and self._rename_limit(setting)
        if setting == "temperature" and reply.value_refused:
            return False
        if setting not in self._not_taken:
            self._not_taken.add(setting)
            self._on_note(f"the endpoint does not take {setting}: left out from now on ({reply.message})")
        return True

    def _rename_limit(self, refused: str) -> bool:
        if self._limit_names[:1] != [refused]:
            return True  # another call of the same moment has done it
        if len(self._limit_names) == 1 and self._bounded:
            return False
        del self._limit_names[0]
        then = f"sent as {self._limit_names[0]}" if self._limit_names else "left out"
        self._on_note(f"the endpoint does not take {refused}: {then} from now on")
        return True

    def _merge_system(self) -> bool:
        if self._system_role:
            self._system_role = False
            self._on_note("the model takes no system message: its text goes before the user's from now on")
        return True

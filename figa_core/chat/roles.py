"""Which conversations a chat template accepts, and whether it prints all of their messages.

A template may refuse a role (Gemma's refuses system messages), or ignore it silently: then the model would
get another prompt than the data holds. This depends on the order of the roles, so each order is tried once,
on a conversation with marked contents.
"""

from functools import lru_cache

from figa_core.chat.format import ChatFormat
from figa_core.errors import InputError
from figa_core.records import Message

_ORDERS_KNOWN = 1024


class TemplateRoles:
    """How one chat template treats the roles of a conversation."""

    def __init__(self, chat: ChatFormat) -> None:
        self._chat = chat
        self._try = lru_cache(_ORDERS_KNOWN)(self._try_roles)

    def refusal(self, messages: tuple[Message, ...], *, answered: bool) -> str | None:
        """Why the template refuses these roles, followed by an answer if `answered`; None if it does not."""
        refused, _ = self._try(self._roles(messages, answered), answered)
        return refused

    def left_out(self, messages: tuple[Message, ...]) -> str | None:
        """The first role whose content the template does not print; None if it prints every content."""
        _, role = self._try(self._roles(messages, False), False)
        return role

    def _roles(self, messages: tuple[Message, ...], answered: bool) -> tuple[str, ...]:
        roles = tuple(message.role for message in messages)
        return (*roles, "assistant") if answered else roles

    def _try_roles(self, roles: tuple[str, ...], answered: bool) -> tuple[str | None, str | None]:
        marked = [Message(role, f"figamark{number}end") for number, role in enumerate(roles)]
        try:
            text = self._chat.render(marked, for_generation=not answered).casefold()
        except InputError as error:
            return str(error), None
        return None, next((message.role for message in marked if message.content not in text), None)

"""The interface of an endpoint: an interactive one, a batch API or a recording."""

from typing import Any, Protocol

from figa_core.llm.question import ChatMessages
from figa_core.llm.reply import Reply


class Transport(Protocol):
    """One model at one place. `endpoint.ChatEndpoint` is the interactive one."""

    @property
    def url(self) -> str:
        """Where the model is, for messages; without user and password."""
        ...

    @property
    def model(self) -> str:
        """The model's name, for messages."""
        ...

    async def ask(self, messages: ChatMessages, **fields: Any) -> Reply:
        """Send one request; `fields` are its other fields, such as `temperature`.

        Never raises except for cancellation: every way a call can end is a `Reply`.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...

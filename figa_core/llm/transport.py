"""How a question reaches a model: what the rest of this package needs of an endpoint, batch or recording."""

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
        """Send one request; `fields` are the request's others, such as `temperature`.

        Never raises but for cancellation: every way a call can end is a `Reply`.
        """
        ...

    async def aclose(self) -> None:
        """Let go of all connections."""
        ...

"""Conversations as the column `prompts.messages` holds them: JSON."""

from collections.abc import Iterable

import orjson

from figa_core.records import Message


def messages_text(messages: Iterable[Message]) -> str:
    """A conversation as JSON."""
    return orjson.dumps([message.as_dict() for message in messages]).decode()


def read_messages(text: str) -> tuple[Message, ...]:
    """The conversation that `messages_text` wrote."""
    return tuple(Message.of(fields) for fields in orjson.loads(text))

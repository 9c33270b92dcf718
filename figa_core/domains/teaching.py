"""Reads a reviser's message as the default templates write it, and answers with a domain's correction."""

import json
import re
from collections.abc import Sequence
from typing import Any

from figa_core.domains.base import Domain
from figa_core.records import Message
from figa_core.revision.prompt import ANSWER_FIELD, unfence

_TURN = re.compile(r"^(system|user|assistant): ", re.MULTILINE)


def correction(domain: Domain, user_text: str) -> str | None:
    """The domain's correction of the draft in a message; None if it declines or finds no draft of its own."""
    draft, reference = _section(user_text, "response"), _section(user_text, "reference")
    if draft is None:
        return None
    try:
        return domain.correct(_conversation(_section(user_text, "conversation") or ""), draft, reference)
    except ValueError:  # a prompt of another domain
        return None


def as_asked(text: str, body: dict[str, Any]) -> str:
    """The answer as JSON if the request's body asks for that."""
    asked = body.get("response_format")
    in_json = isinstance(asked, dict) and asked.get("type") == "json_schema"
    return json.dumps({ANSWER_FIELD: text}, ensure_ascii=False) if in_json else text


def _section(text: str, tag: str) -> str | None:
    """The content of the tag, as it was before it was fenced; None without the tag."""
    opened, closed = text.rfind(f"<{tag}>"), text.rfind(f"</{tag}>")
    if opened < 0 or closed < opened:
        return None
    return unfence(text[opened + len(tag) + 2 : closed].removeprefix("\n").removesuffix("\n"))


def _conversation(text: str) -> Sequence[Message]:
    """The messages; their further lines are indented by two spaces."""
    turns = list(_TURN.finditer(text))
    ends = [turn.start() for turn in turns[1:]] + [len(text)]
    return [
        Message(turn.group(1), text[turn.end() : end].removesuffix("\n").replace("\n  ", "\n"))
        for turn, end in zip(turns, ends, strict=True)
    ]

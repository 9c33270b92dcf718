"""What the reviser is told: Jinja2 templates, versioned by their text.

A template has a `system` and a `user` block; without blocks all of it is the user message. It is given
`messages` (role, content), `response` (Ŷ) and `reference` (Y or None). Its text is part of the revision
id, so that a changed instruction makes new revisions and an unchanged one none.

Data cannot pose as structure: a tag of ours inside a text gets a backslash (`<\\/response>`), which
`unfence` takes off the answer again, and further lines of a message are indented, so that none of them
looks like another speaker's turn.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from figa_core.records import Message

TAGS = ("conversation", "reference", "response")

_TEMPLATES = Path(__file__).parent / "templates"
_PLAIN_TAG = re.compile(rf"<(\\*)(/?(?:{'|'.join(TAGS)})>)")
_FENCED_TAG = re.compile(rf"<(\\*)\\(/?(?:{'|'.join(TAGS)})>)")


@cache
def template_text(has_reference: bool) -> str:
    """The text of the template used with or without a reference: what the revision id hashes."""
    name = "with_reference.jinja" if has_reference else "without_reference.jinja"
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def render(messages: Sequence[Message], response: str, reference: str | None) -> list[dict[str, str]]:
    """The chat messages that ask for a revision of `response`, in the form the OpenAI protocol takes.

    Raises:
        jinja2.UndefinedError: the template names something that it is not given.
    """
    template = _compiled(reference is not None)
    context = template.new_context(
        {
            "messages": [
                {"role": m.role, "content": fence(m.content).replace("\n", "\n  ")} for m in messages
            ],
            "response": fence(response),
            "reference": None if reference is None else fence(reference),
        }
    )
    if not template.blocks:
        return [{"role": "user", "content": template.render(context.get_all()).strip("\n")}]
    return [
        {"role": role, "content": "".join(template.blocks[role](context)).strip("\n")}
        for role in ("system", "user")
        if role in template.blocks
    ]


def fence(text: str) -> str:
    """`text` with a backslash in every tag of ours; `unfence` is its exact inverse."""
    return _PLAIN_TAG.sub(r"<\1\\\2", text)


def unfence(text: str) -> str:
    """Undo `fence`."""
    return _FENCED_TAG.sub(r"<\1\2", text)


@cache
def _compiled(has_reference: bool) -> Template:
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template_text(has_reference))

"""The instructions for the reviser: Jinja2 templates, versioned by their text.

A template has a `system` and a `user` block; without blocks all of it is the user message. It gets `messages`
(role, content), `response` (Ŷ) and `reference` (Y or None). Its text is part of the revision id, so a changed
instruction makes new revisions.

Data cannot be mistaken for structure: our tags inside a text get a backslash (`<\\/response>`), which
`unfence` removes from the answer, and further lines of a message are indented, so that none looks like the
next turn.

If the provider supports structured output, the answer is a JSON object (`RESPONSE_FORMAT`), without preamble
or quotation marks. Otherwise it is plain text. `answer.py` reads both.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta

from figa_core.errors import ConfigError
from figa_core.files import require_regular
from figa_core.llm.limiter import CHARS_PER_TOKEN
from figa_core.records import Message

TAGS = ("conversation", "reference", "response")
ANSWER_FIELD = "revised_response"
RESPONSE_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "revision",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {ANSWER_FIELD: {"type": "string"}},
            "required": [ANSWER_FIELD],
            "additionalProperties": False,
        },
    },
}
"""A request's `response_format`, for OpenAI and vLLM."""

_GIVEN = {"messages", "response", "reference"}
_TEMPLATES = Path(__file__).parent / "templates"
_PLAIN_TAG = re.compile(rf"<(\\*)(/?(?:{'|'.join(TAGS)})>)")
_FENCED_TAG = re.compile(rf"<(\\*)\\(/?(?:{'|'.join(TAGS)})>)")


@dataclass(frozen=True, slots=True)
class PromptTemplates:
    """The texts of the two templates, for rows with a reference and for rows without."""

    with_reference: str
    without_reference: str

    def text(self, *, has_reference: bool) -> str:
        """The template used, which is part of the revision id."""
        return self.with_reference if has_reference else self.without_reference

    def render(
        self, messages: Sequence[Message], response: str, reference: str | None
    ) -> list[dict[str, str]]:
        """The chat messages that ask for a revision of `response`.

        Raises:
            jinja2.UndefinedError: the template uses an unknown name.
        """
        template = _compiled(self.text(has_reference=reference is not None))
        turns = [{"role": m.role, "content": fence(m.content).replace("\n", "\n  ")} for m in messages]
        fenced = None if reference is None else fence(reference)
        given = {"messages": turns, "response": fence(response), "reference": fenced}
        context = template.new_context(given)
        if not template.blocks:
            return [{"role": "user", "content": template.render(context.get_all()).strip("\n")}]
        return [
            {"role": role, "content": "".join(template.blocks[role](context)).strip("\n")}
            for role in ("system", "user")
            if role in template.blocks
        ]


def load_templates(
    with_reference: Path | None = None, without_reference: Path | None = None
) -> PromptTemplates:
    """Templates from a user's files, or for None this package's.

    Raises:
        ConfigError: a file cannot be read, is not a template, uses an unknown name, or lacks the response.
    """
    return PromptTemplates(
        _load(with_reference or _TEMPLATES / "with_reference.jinja", "a reference"),
        _load(without_reference or _TEMPLATES / "without_reference.jinja", None),
    )


def expected_tokens(draft: str) -> int:
    """About how many tokens a revision of `draft` has: a quarter more than the draft, and 16 for the JSON."""
    return math.ceil(1.25 * len(draft) / CHARS_PER_TOKEN) + 16


def ask_again(reason: str) -> dict[str, str]:
    """The message after an unfit answer."""
    return {
        "role": "user",
        "content": f"That answer cannot be used: {reason}. Give the revised response again, with as few "
        "edits as possible and nothing around it.",
    }


def fence(text: str) -> str:
    """`text` with a backslash in every tag of ours; `unfence` is the exact inverse."""
    return _PLAIN_TAG.sub(r"<\1\\\2", text)


def unfence(text: str) -> str:
    """Undo `fence`."""
    return _FENCED_TAG.sub(r"<\1\2", text)


def _load(path: Path, reference: str | None) -> str:
    try:
        require_regular(path)
        text = path.read_text(encoding="utf-8")
        unknown = meta.find_undeclared_variables(_environment().parse(text)) - _GIVEN
        if unknown:
            raise ConfigError(
                f"{path}: the prompt template uses {', '.join(sorted(unknown))}, but has only "
                f"{', '.join(sorted(_GIVEN))}. Correct the name."
            )
        shown = PromptTemplates(text, text).render([Message("user", "a question")], "a response", reference)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot read the prompt template: {reason}.") from error
    except TemplateSyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: not a Jinja2 template: {error.message}") from error
    except (TemplateError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: the prompt template cannot be filled in: {error}") from error
    if not any("a response" in message["content"] for message in shown):
        raise ConfigError(f"{path}: the prompt template lacks the response. Put {{{{ response }}}} in.")
    return text


@cache
def _compiled(text: str) -> Template:
    return _environment().from_string(text)


def _environment() -> Environment:
    return Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)

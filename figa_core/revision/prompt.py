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
from pathlib import Path
from typing import Any

from figa_core.llm import templates
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
        turns = [{"role": m.role, "content": fence(m.shown).replace("\n", "\n  ")} for m in messages]
        fenced = None if reference is None else fence(reference)
        given = {"messages": turns, "response": fence(response), "reference": fenced}
        return templates.render(self.text(has_reference=reference is not None), given)


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
    messages = [Message("user", "a question").as_dict()]
    example = {"messages": messages, "response": "a response", "reference": reference}
    return templates.read_template(path, example, needed=("response",))

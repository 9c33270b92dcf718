"""The instructions for a judge: one Jinja2 template, versioned by its text.

A template has a `system` and a `user` block (`llm/templates.py`). It gets `messages` (role, content), `text`
(the answer to judge), `fields` (name and value, as text, of what the settings ask for of the prompt's row),
`rubric` (the user's criteria or None) and `highest_score`. Our tags inside a text get a backslash
(`<\\field`), so that data cannot be mistaken for structure; further lines of a message are indented.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figa_core.llm import templates
from figa_core.ports import RewardRequest
from figa_core.records import Message

SCORE_FIELD, REASON_FIELD = "score", "reason"
ANSWER_TOKENS = 60  # about how many an answer has, without thoughts

_BUILT_IN = Path(__file__).parent / "templates" / "judge.jinja"
_TAG = re.compile(r"<(\\*/?(?:conversation|field|response)\b)")
_EXAMPLE = RewardRequest("", (Message("user", "a question"),), "a response", {"reference": "an answer"})


def load_template(path: Path | None = None) -> str:
    """The text of a user's template, or for None of this package's.

    Raises:
        ConfigError: the file cannot be read, is not a template, uses an unknown name, or lacks the text.
    """
    return templates.read_template(path or _BUILT_IN, _given(_EXAMPLE, None, 10), needed=("text",))


def render(
    template: str, request: RewardRequest, rubric: str | None, highest_score: int
) -> list[dict[str, str]]:
    """The chat messages that ask for the score of an answer.

    Raises:
        jinja2.TemplateError: the template cannot be filled in with this request.
    """
    return templates.render(template, _given(request, rubric, highest_score))


def response_format() -> dict[str, Any]:
    """A request's `response_format`, for OpenAI and vLLM."""
    schema = {
        "type": "object",
        "properties": {REASON_FIELD: {"type": "string"}, SCORE_FIELD: {"type": "number"}},
        "required": [REASON_FIELD, SCORE_FIELD],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": SCORE_FIELD, "strict": True, "schema": schema}}


def ask_again(highest_score: int, reason: str) -> dict[str, str]:
    """The message after an unfit answer."""
    return {
        "role": "user",
        "content": f"That answer cannot be used: {reason}. Answer with JSON only, with a score from 1 to "
        f'{highest_score}: {{"{REASON_FIELD}": "…", "{SCORE_FIELD}": {highest_score}}}',
    }


def shown_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """A conversation for a template: further lines of a message are indented."""
    return [{"role": m.role, "content": fenced(m.shown).replace("\n", "\n  ")} for m in messages]


def fenced(text: str) -> str:
    """Data for a template: our tags in it get a backslash."""
    return _TAG.sub(r"<\\\1", text)


def _given(request: RewardRequest, rubric: str | None, highest_score: int) -> dict[str, Any]:
    return {
        "messages": shown_messages(request.messages),
        "fields": [
            {"name": name, "value": fenced(_as_text(value))}
            for name, value in request.fields.items()
            if value is not None
        ],
        "text": fenced(request.text),
        "rubric": rubric,
        "highest_score": highest_score,
    }


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

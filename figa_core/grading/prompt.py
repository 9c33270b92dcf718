"""The instructions for the grader: one Jinja2 template for each scheme, versioned by its text.

A template has a `system` and a `user` block (`llm/templates.py`). It gets `messages` (role, content),
`reference` (Y or None), `response` (Ŷ), `revision` (Ỹ with its changed words as `<w n="1">word</w>`), `words`
(number and text of each) and `highest_score`. Our tags inside a text get a backslash (`<\\w`), so that data
cannot be mistaken for structure; further lines of a message are indented.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figa_core.llm import templates
from figa_core.ports import GradeRequest
from figa_core.records import Message
from figa_core.weighting.schemes import HIGHEST_SCORES, LLM_GRADED

SCORES_FIELD, MATTER_FIELD = "scores", "matter"

_TEMPLATES = Path(__file__).parent / "templates"
_TAG = re.compile(r"<(\\*/?(?:conversation|reference|response|revision|w)\b)")
_EXAMPLE = GradeRequest("", (Message("user", "a question"),), "a response", "a revision", None, ((2, 10),))
_INTEGER = {"type": "integer"}


def load_template(scheme: str, path: Path | None = None) -> str:
    """The text of a user's template, or for None of this package's.

    Raises:
        ConfigError: the file cannot be read, is not a template, uses an unknown name, or lacks the revision.
    """
    example = _given(_EXAMPLE, HIGHEST_SCORES[scheme])
    return templates.read_template(path or _TEMPLATES / f"{scheme}.jinja", example, needed=("revision",))


def render(template: str, request: GradeRequest, highest_score: int) -> list[dict[str, str]]:
    """The chat messages that ask for the scores of the request's words.

    Raises:
        jinja2.TemplateError: the template cannot be filled in with this request.
    """
    return templates.render(template, _given(request, highest_score))


def response_format(scheme: str) -> dict[str, Any]:
    """A request's `response_format`, for OpenAI and vLLM."""
    entry = {
        "type": "object",
        "properties": {"word": _INTEGER, "score": _INTEGER},
        "required": ["word", "score"],
        "additionalProperties": False,
    }
    field, items = (SCORES_FIELD, entry) if scheme == LLM_GRADED else (MATTER_FIELD, _INTEGER)
    schema = {
        "type": "object",
        "properties": {field: {"type": "array", "items": items}},
        "required": [field],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": field, "strict": True, "schema": schema}}


def expected_tokens(scheme: str, words: int) -> int:
    """About how many tokens an answer for so many words has, without thoughts."""
    return 16 + (12 if scheme == LLM_GRADED else 2) * words


def ask_again(scheme: str, words: int, reason: str) -> dict[str, str]:
    """The message after an unfit answer."""
    form = (
        f'one score for each of the words 1 to {words}: {{"{SCORES_FIELD}": [{{"word": 1, "score": 0}}, …]}}'
        if scheme == LLM_GRADED
        else f'the numbers of the words that matter, from 1 to {words}: {{"{MATTER_FIELD}": [1, …]}}'
    )
    return {
        "role": "user",
        "content": f"That answer cannot be used: {reason}. Answer with JSON only, with {form}",
    }


def _given(request: GradeRequest, highest_score: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": m.role, "content": _fenced(m.shown).replace("\n", "\n  ")} for m in request.messages
        ],
        "reference": None if request.reference is None else _fenced(request.reference),
        "response": _fenced(request.response),
        "revision": _marked(request.revision, request.words),
        "words": [
            {"number": number, "text": _fenced(request.revision[start:end])}
            for number, (start, end) in enumerate(request.words, 1)
        ],
        "highest_score": highest_score,
    }


def _marked(text: str, words: Sequence[tuple[int, int]]) -> str:
    parts, place = list[str](), 0
    for number, (start, end) in enumerate(words, 1):
        parts += _fenced(text[place:start]), f'<w n="{number}">{_fenced(text[start:end])}</w>'
        place = end
    return "".join(parts) + _fenced(text[place:])


def _fenced(text: str) -> str:
    return _TAG.sub(r"<\\\1", text)

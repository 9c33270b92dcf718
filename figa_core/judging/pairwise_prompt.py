"""The instructions for a judge of two answers, and how its choice is read.

The template gets `messages` (role, content), `first`, `second` (the answers) and `rubric`; see `prompt.py`. A
user's own must show the conversation and both answers, and an answer of the form that is read.
"""

import re
from pathlib import Path
from typing import Any

from figa_core.errors import ConfigError
from figa_core.judging.prompt import REASON_FIELD, fenced, shown_messages
from figa_core.llm import templates
from figa_core.ports import ComparisonRequest
from figa_core.records import Message
from figa_core.revision.json_answer import UnfitAnswerError, json_answer

CHOICE_FIELD = "better"
CHOICES = {"A": 1.0, "tie": 0.5, "B": 0.0}
"""The values of an answer: 1 if the response shown first is better, 0 if the other one is."""

_BUILT_IN = Path(__file__).parent / "templates" / "pairwise.jinja"
_EXAMPLE = ComparisonRequest("", (Message("user", "What is asked?"),), "One response.", "Another one.")
_RUBRIC = "What counts."
_OBJECTS = re.compile(r"\{[^{}]*\}")


def load_template(path: Path | None = None) -> str:
    """The text of a user's template, or for None of this package's.

    Raises:
        ConfigError: the file cannot be read, is not a template or uses an unknown name; or it lacks an answer
            or the conversation, or says nowhere how to answer.
    """
    source = path or _BUILT_IN
    text = templates.read_template(source, _given(_EXAMPLE, _RUBRIC), needed=("first", "second"))
    shown = "\n".join(message["content"] for message in render(text, _EXAMPLE, _RUBRIC))
    lacks = []
    if _EXAMPLE.messages[0].content not in shown:
        lacks.append("the conversation: put each message.role and message.content of messages in")
    if not any(map(_is_readable, _OBJECTS.findall(shown))):
        lacks.append(
            "an example of an answer, without which the judge's cannot be read: put in "
            f'{{"{REASON_FIELD}": "…", "{CHOICE_FIELD}": "tie"}}, and that the choice is "A", "B" or "tie"'
        )
    if lacks:
        raise ConfigError(f"{source}: the prompt template lacks {'; it lacks '.join(lacks)}.")
    return text


def shows_rubric(template: str) -> bool:
    """Whether a template that can be used shows the user's criteria."""
    return any(_RUBRIC in message["content"] for message in render(template, _EXAMPLE, _RUBRIC))


def render(template: str, request: ComparisonRequest, rubric: str | None) -> list[dict[str, str]]:
    """The chat messages that ask which of two answers is better.

    Raises:
        jinja2.TemplateError: the template cannot be filled in with this request.
    """
    return templates.render(template, _given(request, rubric))


def response_format() -> dict[str, Any]:
    """A request's `response_format`, for OpenAI and vLLM."""
    schema = {
        "type": "object",
        "properties": {
            REASON_FIELD: {"type": "string"},
            CHOICE_FIELD: {"type": "string", "enum": list(CHOICES)},
        },
        "required": [REASON_FIELD, CHOICE_FIELD],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": CHOICE_FIELD, "strict": True, "schema": schema}}


class ChoiceForm:
    """Satisfies `reader.AnswerForm`: an answer is one of `CHOICES`."""

    def read(self, text: str) -> float:
        """Raises UnfitAnswerError if the answer is not a JSON object with a choice; prose is none."""
        found = json_answer(text)
        if not isinstance(found, dict) or CHOICE_FIELD not in found:
            raise UnfitAnswerError(f'it is not a JSON object with the field "{CHOICE_FIELD}"')
        choice = found[CHOICE_FIELD]
        if not isinstance(choice, str) or choice not in CHOICES:
            raise UnfitAnswerError('the choice is not "A", "B" or "tie"')
        return CHOICES[choice]

    def ask_again(self, reason: str) -> dict[str, str]:
        """The message after an unfit answer."""
        return {
            "role": "user",
            "content": f"That answer cannot be used: {reason}. Answer with JSON only, with the choice "
            f'"A", "B" or "tie": {{"{REASON_FIELD}": "…", "{CHOICE_FIELD}": "tie"}}',
        }


def _is_readable(answer: str) -> bool:
    try:
        ChoiceForm().read(answer)
    except UnfitAnswerError:
        return False
    return True


def _given(request: ComparisonRequest, rubric: str | None) -> dict[str, Any]:
    return {
        "messages": shown_messages(request.messages),
        "first": fenced(request.first),
        "second": fenced(request.second),
        "rubric": rubric,
    }

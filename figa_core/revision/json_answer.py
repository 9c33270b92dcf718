"""The JSON in an LLM's answer, if the answer is nothing else."""

import json
import re
from typing import Any

from figa_core.revision.thoughts import strip_thoughts

_FENCE = re.compile(r"\A```(?:json)?[ \t]*\n(.*?)\n?```\Z", re.DOTALL)


class UnfitAnswerError(ValueError):
    """Why an answer is not what was asked for, for the LLM to read."""


def json_answer(text: str) -> Any:
    """What the answer says. A reasoning model's thoughts and one code fence around the JSON are removed.

    Raises:
        UnfitAnswerError: there is other text, a field occurs twice, or NaN or an infinity.
    """
    answer = strip_thoughts(text)
    if answer.problem is not None:
        raise UnfitAnswerError(answer.problem)
    whole = answer.text.strip()
    fenced = _FENCE.match(whole)
    try:
        return json.loads(
            fenced.group(1) if fenced else whole, object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except UnfitAnswerError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnfitAnswerError("it is not JSON") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnfitAnswerError("a field of the JSON occurs twice")
    return found


def _refuse_constant(name: str) -> None:
    raise UnfitAnswerError(f"{name} is not a number")

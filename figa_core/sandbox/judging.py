"""Scores of whole replies by rule, for the sandbox's teacher in the place of a judge."""

import json
import re

from figa_core.records import Message
from figa_core.sandbox.verifier import verify

_COMPARED = re.compile(
    r'<response name="A">\n(.*?)\n</response>\n<response name="B">\n(.*?)\n</response>\n'
    r"Which response is better, A or B\?\s*\Z",
    re.DOTALL,
)
_ASKED = re.compile(r"Give the response a score from 1 to (\d+)\.\s*\Z")


def highest_score(user_text: str) -> int | None:
    """The highest score that a judge is asked for; None if it is asked for something else."""
    asked = _ASKED.search(user_text)
    return None if asked is None else int(asked.group(1))


def judge(conversation: str, reply: str, highest: int) -> str:
    """The answer to a judge's question: JSON, with the verifier's value on the scale from 1 to `highest`."""
    value = verify((Message("user", conversation),), reply)
    return json.dumps(
        {"reason": "By the rules of the sandbox.", "score": round(1 + value * (highest - 1), 2)}
    )


def compared(user_text: str) -> tuple[str, str] | None:
    """The two replies that a judge is asked to compare; None if it is asked for something else."""
    found = _COMPARED.search(user_text)
    return None if found is None else (found.group(1), found.group(2))


def prefer(conversation: str, first: str, second: str) -> str:
    """The answer to a judge's question about two replies: the one with the higher value of the verifier."""
    messages = (Message("user", conversation),)
    one, other = verify(messages, first), verify(messages, second)
    better = "tie" if one == other else "A" if one > other else "B"
    return json.dumps({"reason": "By the rules of the sandbox.", "better": better})

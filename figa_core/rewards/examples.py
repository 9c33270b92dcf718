"""Reward programs to use, or to copy: what `program` in `[[rewards]]` may name.

A program gets the conversation and the answer, and by name the fields of the prompt's row that its `fields`
list. It returns a number, more for a better answer, or NaN for a row that it cannot rate. Any function
with these arguments will do, so a verifier is one as well.
"""

import math
import re
from collections.abc import Sequence

from figa_core.records import Message

_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_WORDS_ENOUGH = 120


def gives_the_answer(_messages: Sequence[Message], text: str, *, answer: object = None) -> float:
    """1 if the last number in `text` is the row's answer, otherwise 0; NaN for a row without a number."""
    try:
        expected = float(str(answer).replace(",", ""))
    except ValueError:
        return math.nan
    found = _NUMBER.findall(text)
    return float(bool(found) and math.isclose(float(found[-1].replace(",", "")), expected, rel_tol=1e-9))


def is_brief(_messages: Sequence[Message], text: str) -> float:
    """1 for at most 120 words, and less the more there are beyond."""
    words = len(text.split())
    return min(1.0, _WORDS_ENOUGH / words) if words else 0.0

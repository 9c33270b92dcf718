"""The number of words as a reward: what a reward model that likes length likes."""

from collections.abc import Sequence

from figa_core.records import Message

PROGRAM = f"{__name__}:words"


def words(_messages: Sequence[Message], text: str) -> float:
    """The number of words of an answer."""
    return float(len(text.split()))

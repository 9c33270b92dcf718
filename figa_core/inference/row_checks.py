"""Finds the rows that an engine cannot take: before it tries, and by trying.

Used on both sides of the exchange with vLLM, so it needs only the standard library.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

_Row = TypeVar("_Row")
_Out = TypeVar("_Out")


def problem_of(token_ids: Sequence[int], *, vocabulary: int, longest: int | None = None) -> str | None:
    """Why a model with `vocabulary` embeddings and at most `longest` tokens cannot read these; or None."""
    if not token_ids:
        return "there is no token to read"
    worst = max(token_ids) if min(token_ids) >= 0 else min(token_ids)
    if not 0 <= worst < vocabulary:
        return f"a token id is outside the model's vocabulary (id {worst}, {vocabulary} in the vocabulary)"
    if longest is not None and len(token_ids) > longest:
        return f"too long for the model ({len(token_ids)} tokens, at most {longest})"
    return None


def each_or_reason(
    work: Callable[[list[_Row]], list[_Out]], rows: list[_Row], errors: tuple[type[Exception], ...]
) -> list[_Out | str]:
    """The results of `work`. If it raises one of `errors`, the rows are halved until the row is found that it
    fails for; the result of that row is the reason.
    """
    try:
        return [*work(rows)] if rows else []
    except errors as error:
        if len(rows) == 1:
            return [
                f"the engine failed for this row ({type(error).__name__}: {' '.join(str(error).split())})"
            ]
    middle = len(rows) // 2
    return each_or_reason(work, rows[:middle], errors) + each_or_reason(work, rows[middle:], errors)

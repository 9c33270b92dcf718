"""Finds the rows that an engine cannot process: by looking at them, and by trying.

Both sides of the exchange with vLLM import this, so it needs only the standard library.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

_Row = TypeVar("_Row")
_Out = TypeVar("_Out")


def problem_of(token_ids: Sequence[int], *, vocabulary: int, longest: int | None = None) -> str | None:
    """Why a model with `vocabulary` embeddings, for at most `longest` tokens, cannot read these; or None."""
    if not token_ids:
        return "there is no token to read"
    worst = max(token_ids) if min(token_ids) >= 0 else min(token_ids)
    if not 0 <= worst < vocabulary:
        return f"a token id is outside the model's vocabulary (id {worst}, {vocabulary} in the vocabulary)"
    if longest is not None and len(token_ids) > longest:
        return f"too long for the model ({len(token_ids)} tokens, at most {longest})"
    return None


def outcomes(
    work: Callable[[list[_Row]], list[_Out]],
    rows: Sequence[_Row],
    problems: Sequence[str | None],
    errors: tuple[type[Exception], ...],
) -> list[_Out | str]:
    """The results of `work` for the rows without a problem, and the reasons for the others, in order."""
    good = [row for row, problem in zip(rows, problems, strict=True) if problem is None]
    done = iter(_each_or_reason(work, good, errors))
    return [next(done) if problem is None else problem for problem in problems]


def failed(error: Exception) -> str:
    """The reason of a row at which an engine raised this."""
    return f"the engine failed for this row ({type(error).__name__}: {' '.join(str(error).split())})"


def _each_or_reason(
    work: Callable[[list[_Row]], list[_Out]], rows: list[_Row], errors: tuple[type[Exception], ...]
) -> list[_Out | str]:
    """The results of `work`. If it raises one of `errors`, the rows are halved until the failing row is
    found; its result is the reason.
    """
    try:
        return [*work(rows)] if rows else []
    except errors as error:
        if len(rows) == 1:
            return [failed(error)]
    middle = len(rows) // 2
    return _each_or_reason(work, rows[:middle], errors) + _each_or_reason(work, rows[middle:], errors)

"""When one row's error is that row's, and when there are so many that the fault lies elsewhere.

A row that a model, a template or a verifier cannot handle is recorded with its reason, and the others go on.
A stage that fails for row after row is not done: something that all rows have in common is wrong.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MOST_SHARE = 0.1
"""More than this share of failed rows ends a stage …"""
FEW = 2
"""… unless they are no more than this, as in a small data set."""

_REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Failed:
    """So many rows for one reason in words, with the id of one of them."""

    reason: str
    rows: int
    example: str


def too_many(failed: int, rows: int) -> bool:
    """Whether so many failed rows of `rows` are a fault of the whole stage: all, or above the share."""
    return failed > 0 and (failed >= rows or failed > max(FEW, MOST_SHARE * rows))


def failures_text(failed: Iterable[Failed]) -> str:
    """The three most frequent reasons, each with its number of rows and an example."""
    by_rows = sorted(failed, key=lambda f: (-f.rows, f.reason))
    text = "; ".join(f"{f.rows:,} × {f.reason} (such as {f.example})" for f in by_rows[:_REASONS_SHOWN])
    more = len(by_rows) - _REASONS_SHOWN
    return f"{text}; {more} more reason{'s' if more > 1 else ''}" if more > 0 else text


def counted(failed: Iterable[Failed]) -> Mapping[str, int]:
    """Rows by reason."""
    return {f.reason: f.rows for f in failed}

"""Distinguishes single failed rows from a failed stage.

A row that a model, a template or a verifier cannot handle is recorded with its reason, and the others
continue. If row after row fails, all rows share a problem, and the stage is not done.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

SHARE_MAX = 0.1  # of failed rows; more end a stage, unless they are only a few
_FEW = 2
_ROWS_TO_JUDGE_BY = 200
_REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Failed:
    """How many rows failed for one kind of reason, with the id and the whole reason of one of them."""

    kind: str
    rows: int
    example: str
    reason: str


def too_many(failed: int, rows: int) -> bool:
    """Whether the whole stage has failed: all rows did, or more than the share."""
    return failed > 0 and (failed >= rows or failed > max(_FEW, SHARE_MAX * rows))


def hopeless(failed: int, rows: int) -> bool:
    """Whether so many of the first `rows` failed that it is pointless to continue."""
    return failed >= _ROWS_TO_JUDGE_BY and failed > rows / 2


def failure_kind(reason: str) -> str:
    """A reason without the details of the row, so that rows can be counted by reason."""
    kind = re.sub(r" \(.*", "", " ".join(reason.split()))
    kind = re.sub(r" returned .*, which is", " returned what is", kind)
    return kind.split(": ")[0] if " raised " in kind else kind


def failures_text(failed: Iterable[Failed]) -> str:
    """The three most frequent reasons, each with its number of rows and an example."""
    by_rows = sorted(failed, key=lambda f: (-f.rows, f.kind))
    parts = []
    for f in by_rows[:_REASONS_SHOWN]:
        detail = "" if f.reason == f.kind else f": {f.reason[:200]}"
        parts.append(f"{f.rows:,} × {f.kind} (such as {f.example}{detail})")
    text, more = "; ".join(parts), len(by_rows) - _REASONS_SHOWN
    return f"{text}; {more} more reason{'s' if more > 1 else ''}" if more > 0 else text

"""Tells single failed rows from a stage that fails.

A row that a model, a template or a verifier cannot handle is recorded with its reason, and the others go on.
If row after row fails, something is wrong that all rows have in common, and the stage is not done.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

MOST_SHARE = 0.1
"""More than this share of failed rows ends a stage …"""
FEW = 2
"""… unless they are no more than this, as in a small data set."""

_TELLING = 200
_REASONS_SHOWN = 3
_DETAIL_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Failed:
    """How many rows failed for one kind of reason, with the id and the whole reason of one of them."""

    kind: str
    rows: int
    example: str
    reason: str


def too_many(failed: int, rows: int) -> bool:
    """Whether the whole stage has failed: all rows did, or more than the share."""
    return failed > 0 and (failed >= rows or failed > max(FEW, MOST_SHARE * rows))


def hopeless(failed: int, rows: int) -> bool:
    """Whether so many of the first `rows` failed that it is pointless to go on."""
    return failed >= _TELLING and failed > rows / 2


def failure_kind(reason: str) -> str:
    """A reason without the details of the row, so that rows can be counted by reason."""
    kind = re.sub(r" \(.*", "", " ".join(reason.split()))
    kind = re.sub(r" returned .*, which is", " returned what is", kind)
    return kind.split(": ")[0] if " raised " in kind else kind


def failures_text(failed: Iterable[Failed]) -> str:
    """The three most frequent reasons, each with its number of rows and an example."""
    by_rows = sorted(failed, key=lambda f: (-f.rows, f.kind))
    text = "; ".join(
        f"{f.rows:,} × {f.kind} (such as {f.example}{_detail(f)})" for f in by_rows[:_REASONS_SHOWN]
    )
    more = len(by_rows) - _REASONS_SHOWN
    return f"{text}; {more} more reason{'s' if more > 1 else ''}" if more > 0 else text


def _detail(failed: Failed) -> str:
    return "" if failed.reason == failed.kind else f": {failed.reason[:_DETAIL_WIDTH]}"

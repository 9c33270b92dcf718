"""What every stage returns: counts and reasons, never rows."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StageCounts:
    """`n_in` rows went in and `n_out` came out; `reasons` counts the others by why they did not."""

    n_in: int
    n_out: int
    reasons: dict[str, int] = field(default_factory=dict)


def no_progress(_done: int, _total: int) -> None:
    """A ProgressCallback that shows nothing."""

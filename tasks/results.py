"""What every stage returns or has in its result: counts and reasons, never rows."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StageCounts:
    """`n_in` rows were looked at, `n_out` came out; `reasons` counts the others by why they did not."""

    n_in: int
    n_out: int
    reasons: dict[str, int] = field(default_factory=dict)


def no_progress(_done: int, _total: int) -> None:
    """The ProgressCallback of a caller that does not need one."""

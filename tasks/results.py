"""What every stage returns and reports: counts and reasons, never rows."""

from dataclasses import dataclass, field

from figa_core.records import Stage


@dataclass(frozen=True, slots=True)
class StageResult:
    """`n_in` rows were looked at, `n_out` came out; `reasons` counts the others by why they did not."""

    stage: Stage
    n_in: int
    n_out: int
    reasons: dict[str, int] = field(default_factory=dict)


def no_progress(_done: int, _total: int) -> None:
    """The ProgressCallback of who does not want to know."""

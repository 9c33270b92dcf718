"""Which rank's end led to the end of the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from figa_core.training.failures import Failure

GONE = (
    "it ended without a message. It was killed, often because its machine's memory was full, or its machine "
    "or the network failed."
)


@dataclass(frozen=True, slots=True)
class Ending:
    """A rank that ended before the training did: with a failure, or without a word."""

    rank: int
    where: str
    failure: Failure | None = None

    def as_failure(self) -> Failure:
        """Its own failure, or the one to note in its place."""
        return self.failure or Failure(
            self.rank, "TrainingError", GONE, secondary=False, where=self.where, silent=True
        )


def cause_of(endings: Sequence[Ending]) -> Ending:
    """The first of those that explain the others best; `endings` are in the order in which they were noticed.

    An error of a rank's own explains all that follows; a rank that is gone explains the broken connections of
    others, but torchrun also ends the ranks beside one that failed.
    """
    return min(endings, key=lambda ending: ending.as_failure().precedence)

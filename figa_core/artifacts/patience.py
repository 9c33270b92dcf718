"""How long a store may be away: a call that failed for the time being is made again, after longer pauses."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from figa_core.errors import ArtifactsError
from figa_core.processes import interruption

AWAY_S = 1800.0
"""A store may be away for half an hour before what needs it ends with an error."""

_FIRST_S = 0.5
_LONGEST_S = 15.0
_T = TypeVar("_T")


def _silent(_: str) -> None:
    return


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds a call is repeated; `tell` gets a line when that begins, and when it has helped.

    The first pause is `first_s`; each is twice as long as the one before, up to 15 s, less a random part of
    up to half of it, so that many machines do not come back at once.
    """

    seconds: float = 0.0
    tell: Callable[[str], None] = _silent
    first_s: float = _FIRST_S

    def keep_on(self, call: Callable[[], _T]) -> _T:
        """What the call returns, at last.

        Raises:
            ArtifactsError: the call's own, if it does not pass by itself, or has not within the time.
            InterruptedRunError: this process was asked to stop while it waited.
        """
        since, pause_s, told = time.monotonic(), self.first_s, False
        while True:
            try:
                found = call()
            except ArtifactsError as error:
                left = since + self.seconds - time.monotonic()
                if not error.may_pass or not self.seconds:
                    raise
                if left <= 0:
                    raise _at_last(error, time.monotonic() - since) from error
                if not told:
                    told = True
                    self.tell(f"warning: {error} Trying again for {self.seconds / 60:.0f} minutes")
            else:
                if told:
                    self.tell(f"the store answers again, after {time.monotonic() - since:.0f} s")
                return found
            interruption.check()
            interruption.sleep(min(left, pause_s * (1 - random.random() / 2)))
            interruption.check()
            pause_s = min(2 * pause_s, _LONGEST_S)


def _at_last(error: ArtifactsError, waited_s: float) -> ArtifactsError:
    return ArtifactsError(f"{error} It was tried for {waited_s:.0f} s.", may_pass=error.may_pass)

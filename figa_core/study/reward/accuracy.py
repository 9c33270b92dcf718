"""How often a reward model puts the better of two answers first, with Wilson's interval. Pure.

Wilson (1927), Journal of the American Statistical Association 22(158); the pairs count as independent, one
for each prompt in the study's own pairs.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

_TIE = 0.5


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of `pairs` in which the chosen answer has the higher reward; a tie counts half.

    None without a pair. `left_out` pairs have an answer without a reward.
    """

    right: float
    pairs: int
    left_out: int = 0

    @property
    def share(self) -> float | None:
        return self.right / self.pairs if self.pairs else None

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Wilson's; None without a pair."""
        if not self.pairs:
            return None
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        n, share = self.pairs, self.right / self.pairs
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return (max(0.0, centre - half), min(1.0, centre + half))


def accuracy(rewards: Iterable[tuple[float | None, float | None]]) -> Accuracy:
    """Of the rewards of (chosen, rejected); None for an answer without one."""
    right, pairs, left_out = 0.0, 0, 0
    for chosen, rejected in rewards:
        if chosen is None or rejected is None:
            left_out += 1
            continue
        pairs += 1
        right += _TIE if chosen == rejected else float(chosen > rejected)
    return Accuracy(right, pairs, left_out)

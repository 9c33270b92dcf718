"""Which of two models' answers a judge prefers: win rate, position bias, and agreement with a verifier.

The judge sees each prompt's two answers in both orders (Zheng et al. 2023, arXiv 2306.05685, who found that
judges prefer a place). A prompt's value is the mean of both: 1 if the other model's answer was preferred both
times, 0 if never, 0.5 for a tie, and also if the judge chose the same place both times. The win rate is the
mean of these values, with Student's 95 % interval over prompts. Equal answers are ties.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from figa_core.evaluation.length_control import LengthControlled, length_controlled
from figa_core.evaluation.statistics import Estimate, estimate

UNDECIDED = 0.5
INCONSISTENT_SHARE_MAX = 0.5
"""A judge that throws a coin chooses the same place twice for half of the prompts."""
PLACE_LEAN_MAX = 0.2
"""How far from 0.5 the preference for the first place may be: at 0.2 it decides two answers of five."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One prompt: how far the judge prefers the other model's answer to the one model's, from 0 to 1.

    `in_front`: when it was shown first; `behind`: when it was shown second; None without an answer of the
    judge. `same`: the answers are equal, and the judge was not asked.
    """

    prompt_id: str
    behind: float | None
    in_front: float | None
    same: bool
    one_characters: int
    other_characters: int

    @property
    def value(self) -> float | None:
        """The preference for the other model's answer; None if an order has no answer of the judge."""
        if self.same:
            return UNDECIDED
        if self.behind is None or self.in_front is None:
            return None
        return (self.behind + self.in_front) / 2

    @property
    def by_place(self) -> bool:
        """Whether the judge chose the same place both times, and so contradicted itself."""
        return not self.same and {self.behind, self.in_front} == {0.0, 1.0}

    @property
    def first(self) -> float | None:
        """How far the judge prefers the answer shown first, over both orders; None as for `value`."""
        if self.same or self.behind is None or self.in_front is None:
            return None
        return (1 - self.behind + self.in_front) / 2


@dataclass(frozen=True, slots=True)
class Preference:
    """What a judge says about another model against one: `win_rate` is the other's, from 0 to 1.

    Attributes:
        wins, ties, losses: prompts by their value: above, at and below 0.5.
        same: those of the ties whose answers are equal.
        left_out: prompts without the judge's answer in both orders.
        first: how far the judge preferred the answer shown first; 0.5 without a position bias.
        by_place, asked: prompts for which it chose the same place both times, of those with both orders.
        length: the win rate if answers were equally long, or why there is none.
        agreement: share of the prompts on which judge and verifier both decide, for the same model; n = 0
            without a verifier.
    """

    win_rate: Estimate
    wins: int
    ties: int
    losses: int
    same: int
    left_out: int
    first: Estimate
    by_place: int
    asked: int
    length: LengthControlled | str
    agreement: Estimate

    @property
    def doubt(self) -> str | None:
        """Why it is not to be relied on; None if nothing speaks against it."""
        found = self._position_bias()
        if found:
            return f"position bias: {found}"
        if self.left_out > self.win_rate.n:
            return f"{self.left_out:,} prompts have no answer of the judge in both orders"
        return None

    def _position_bias(self) -> str | None:
        mean = UNDECIDED if self.first.mean is None else self.first.mean
        place, lean = "first" if mean > UNDECIDED else "second", abs(mean - UNDECIDED)
        if self.asked and self.by_place / self.asked >= INCONSISTENT_SHARE_MAX:
            one_side = f", mostly the {place}" if lean > PLACE_LEAN_MAX else ""
            return (
                f"for {self.by_place:,} of {self.asked:,} prompts the judge chose the same place in both "
                f"orders{one_side}"
            )
        # A judge that says "the first" or "a tie" contradicts itself nowhere.
        if lean > PLACE_LEAN_MAX and self.first.less(UNDECIDED).excludes_zero:
            share = 100 * max(mean, 1 - mean)
            return f"ties counted as half, the judge chose the {place} answer in {share:.0f} % of its answers"
        return None


def preference(rows: Sequence[Compared], verifier: Mapping[str, float] | None = None) -> Preference:
    """Sum up a comparison; without rows every figure is empty.

    `verifier`: prompt id → the other model's value − the one model's, to compare the judge with.
    """
    values = {row.prompt_id: value for row in rows if (value := row.value) is not None}
    firsts = [first for row in rows if (first := row.first) is not None]
    decided = {key: value for key, value in values.items() if value != UNDECIDED}
    agrees = [
        float((change > 0) == (decided[key] > UNDECIDED))
        for key, change in (verifier or {}).items()
        if change and key in decided
    ]
    return Preference(
        win_rate=estimate(values.values()),
        wins=sum(value > UNDECIDED for value in values.values()),
        ties=len(values) - len(decided),
        losses=sum(value < UNDECIDED for value in values.values()),
        same=sum(row.same for row in rows),
        left_out=len(rows) - len(values),
        first=estimate(firsts),
        by_place=sum(row.by_place for row in rows),
        asked=len(firsts),
        length=length_controlled(
            [
                (row.other_characters - row.one_characters, values[row.prompt_id])
                for row in rows
                if row.prompt_id in values
            ]
        ),
        agreement=estimate(agrees),
    )

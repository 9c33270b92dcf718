"""What a judge says about two models' answers, in sentences and for programs."""

from typing import Any

from figa_core.evaluation.length_control import LengthControlled
from figa_core.evaluation.statistics import Estimate
from figa_core.report.comparison import interval_text, number
from figa_core.report.data import JudgedPair

_FEW_AGREEMENTS = 10


def judge_sentences(pair: JudgedPair) -> list[str]:
    """The win rate first, or that it is not to be relied on; then lengths, place and the verifier."""
    found = pair.found
    sentences = [_win_rate(pair), _length(found.length), _place(pair)]
    if found.agreement.n >= _FEW_AGREEMENTS:
        agreed = found.agreement.scaled(100)
        sentences.append(
            f"Judge and verifier prefer the same model for {number(agreed.mean, 1)} % of the "
            f"{agreed.n:,} prompts on which both decide (95 % CI {share_interval(found.agreement)})."
        )
    return sentences


def pair_json(pair: JudgedPair) -> dict[str, Any]:
    """For programs: shares from 0 to 1, None where unknown."""
    found, length = pair.found, pair.found.length
    controlled = length if isinstance(length, LengthControlled) else None
    interval = _inside(found.win_rate)
    return {
        "model": pair.other,
        "against": pair.one,
        "judge": pair.judge,
        "win_rate": found.win_rate.mean,
        "interval_95": interval and list(interval),
        "prompts": found.win_rate.n,
        "wins": found.wins,
        "ties": found.ties,
        "losses": found.losses,
        "left_out": found.left_out,
        "length_controlled_win_rate": controlled and controlled.win_rate,
        "length_controlled_interval_95": controlled and list(controlled.interval),
        "preference_for_the_first_place": found.first.mean,
        "same_place_twice": found.by_place,
        "agreement_with_verifier": found.agreement.mean,
        "not_to_be_relied_on": found.doubt,
    }


def share_interval(found: Estimate) -> str:
    """The 95 % interval of a share in per cent, within 0 to 100."""
    interval = _inside(found)
    if interval is None:
        return interval_text(found, 1)
    return f"{number(100 * interval[0], 1)} to {number(100 * interval[1], 1)}"


def _inside(found: Estimate) -> tuple[float, float] | None:
    interval = found.interval
    return interval and (max(interval[0], 0.0), min(interval[1], 1.0))


def _win_rate(pair: JudgedPair) -> str:
    found, names = pair.found, f"{pair.other} to {pair.one}"
    if found.win_rate.mean is None:
        return f"The judge {pair.judge} has compared no answers of {pair.other} and {pair.one}."
    rate = f"{number(100 * found.win_rate.mean, 1)} %"
    same = f", {found.same:,} of them equal answers" if found.same else ""
    evidence = (
        f"95 % CI {share_interval(found.win_rate)}, n = {found.win_rate.n:,}: {found.wins:,} wins, "
        f"{found.ties:,} ties{same}, {found.losses:,} losses"
    )
    if found.doubt is not None:
        return (
            f"Do not rely on the judge {pair.judge}: {found.doubt}. It prefers {names} with a win rate of "
            f"{rate} ({evidence})."
        )
    low, high = _inside(found.win_rate) or (0.0, 1.0)
    if low <= 0.5 <= high:
        return (
            f"The judge {pair.judge} shows no clear preference between {pair.other} and {pair.one}: the win "
            f"rate of {pair.other} is {rate} ({evidence})."
        )
    better, worse = (pair.other, pair.one) if low > 0.5 else (pair.one, pair.other)
    return (
        f"The judge {pair.judge} prefers {better} to {worse}: the win rate of {pair.other} is {rate} "
        f"({evidence})."
    )


def _length(found: LengthControlled | str) -> str:
    if isinstance(found, str):
        return f"There is no win rate at equal lengths: {found}."
    low, high = found.interval
    return (
        f"If the answers were equally long, it would be {number(100 * found.win_rate, 1)} % (95 % CI "
        f"{number(100 * low, 1)} to {number(100 * high, 1)})."
    )


def _place(pair: JudgedPair) -> str:
    found = pair.found
    if not found.asked:
        return "The judge was asked about no prompt in both orders."
    first = number(100 * (found.first.mean or 0), 1)
    left_out = f" {found.left_out:,} prompts without both answers are left out." if found.left_out else ""
    return (
        f"Over both orders it preferred the answer shown first by {first} % (50 % is no position bias), and "
        f"chose the same place twice for {found.by_place:,} of {found.asked:,} prompts.{left_out}"
    )

"""Preference pairs made worse on purpose: fewer of them, or some with the wrong label. Pure.

Which pairs are taken or turned round follows from the pairs' ids alone. So the tenth is the same whatever
else there is, and what is wrong at 10 % is also wrong at 20 %: the variants differ in nothing but the degree.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from figa_core.study.reward.pairs import PreferencePair


@dataclass(frozen=True, slots=True)
class Degradation:
    """`share` of the pairs is trained on, and `noise` of these have chosen and rejected exchanged."""

    key: str
    label: str
    share: float = 1.0
    noise: float = 0.0


FULL = Degradation("full", "all pairs")
TRAINED = (
    FULL,
    Degradation("tenth", "a tenth of the pairs", share=0.1),
    Degradation("noise-10", "10 % wrong labels", noise=0.1),
    Degradation("noise-20", "20 % wrong labels", noise=0.2),
    Degradation("noise-40", "40 % wrong labels", noise=0.4),
)
"""The reward models that are trained, the best first."""


def degraded(pairs: Sequence[PreferencePair], degradation: Degradation) -> list[PreferencePair]:
    """The pairs to train on, in the order of their draw; at least one."""
    count = max(1, round(len(pairs) * degradation.share))
    taken = sorted(pairs, key=lambda pair: _draw("share", pair))[:count]
    turned = sorted(taken, key=lambda pair: _draw("noise", pair))[: round(count * degradation.noise)]
    wrong = {pair.pair_id for pair in turned}
    return [turn(pair) if pair.pair_id in wrong else pair for pair in taken]


def turn(pair: PreferencePair) -> PreferencePair:
    """The pair with the wrong label."""
    return replace(
        pair,
        chosen_id=pair.rejected_id,
        chosen=pair.rejected,
        rejected_id=pair.chosen_id,
        rejected=pair.chosen,
    )


def parts(
    pairs: Sequence[PreferencePair], held_out_share: float
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Those to train on and those that measure the accuracy: all pairs of a prompt are on one side.

    The prompts are drawn by their ids, so that the parts do not depend on the order.
    """
    prompts = sorted({pair.prompt_id for pair in pairs}, key=lambda prompt: _hash("held out", prompt))
    apart = set(prompts[: round(len(prompts) * held_out_share)])
    training = [pair for pair in pairs if pair.prompt_id not in apart]
    return training, [pair for pair in pairs if pair.prompt_id in apart]


def _draw(purpose: str, pair: PreferencePair) -> bytes:
    return _hash(purpose, pair.pair_id)


def _hash(purpose: str, text: str) -> bytes:
    return hashlib.sha256(f"{purpose} {text}".encode()).digest()

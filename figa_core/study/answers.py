"""How far a trained model's held-out answers are from those of its base: the shift after the training.

The measures are those of Ỹ and Y (`shift.py`, `mmd.py`), against the base's answer to the same prompt. Where
answers are sampled, two draws of one model differ too: what is above 0 is then not the training's alone, and
the test of the MMD is what tells the two apart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from figa_core.evaluation.statistics import Estimate
from figa_core.study import shift
from figa_core.study.mmd import Discrepancy, Vectors, discrepancy

Embed = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class HeldOutAnswer:
    """A model's answer to a held-out prompt; `token_ids` without the end of turn."""

    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnswerShift:
    """Of the prompts that both models have answered: the measures of a trained model's answers.

    `discrepancy` is None with fewer than two answers that have words.
    """

    prompts: int
    edit_share: Estimate
    novel_shares: Mapping[int, float | None]
    discrepancy: Discrepancy | None


def answer_shifts(
    base: Mapping[str, HeldOutAnswer],
    trained: Mapping[str, Mapping[str, HeldOutAnswer]],
    embed: Embed,
    embedded_max: int,
) -> dict[str, AnswerShift]:
    """By model; `base` and each of `trained` have their answers by prompt id.

    Models without an answer to a prompt of the base's are left out. At most `embedded_max` are embedded.
    """
    if not any(answers.keys() & base.keys() for answers in trained.values()):
        return {}
    before = _embedded(base, sorted(base)[:embedded_max], embed)
    found = dict[str, AnswerShift]()
    for model, answers in trained.items():
        prompts = sorted(answers.keys() & base.keys())
        if not prompts:
            continue
        own, others = ([of[each].token_ids for each in prompts] for of in (base, answers))
        after = _embedded(answers, prompts[:embedded_max], embed)
        places = [prompt for prompt in after if prompt in before]
        found[model] = AnswerShift(
            prompts=len(prompts),
            edit_share=shift.mean_of(shift.edit_shares(own, others)),
            novel_shares=shift.novel_shares(own, others),
            discrepancy=_discrepancy(before, after, places),
        )
    return found


def _embedded(
    answers: Mapping[str, HeldOutAnswer], prompts: Sequence[str], embed: Embed
) -> dict[str, Vectors]:
    """The vectors, shape [D], of the answers that have words, by prompt id."""
    some = [prompt for prompt in prompts if answers[prompt].text.strip()]
    return dict(zip(some, embed([answers[prompt].text for prompt in some]), strict=True)) if some else {}


def _discrepancy(
    before: Mapping[str, Vectors], after: Mapping[str, Vectors], prompts: Sequence[str]
) -> Discrepancy | None:
    if not prompts:
        return None
    return discrepancy(*(np.stack([of[prompt] for prompt in prompts]) for of in (before, after)))

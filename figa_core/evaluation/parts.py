"""Splits the held-out prompts: one part chooses (learning rates), the other judges what was chosen.

A rate that was chosen on the prompts that judge it looks better than it is.
"""

import hashlib
from collections.abc import Collection

from figa_core.errors import EvaluationError

JUDGED_LEAST = 2
"""Held-out prompts: one to choose, one to judge."""


def validation_part(prompt_ids: Collection[str], share: float) -> frozenset[str]:
    """The prompts that choose: `share` of them, at least one, and at least one is left to judge.

    It depends on nothing but the ids, so that every method and every repetition has the same part.

    Raises:
        EvaluationError: there are fewer than two prompts.
    """
    count = len(prompt_ids)
    if count < JUDGED_LEAST:
        raise EvaluationError(
            f"{count} held-out prompt(s) cannot both choose learning rates and judge methods. Raise "
            "prompts.held_out_share or evaluation.max_prompts, or give more prompts."
        )
    ordered = sorted(prompt_ids, key=lambda prompt: hashlib.sha256(f"validation {prompt}".encode()).digest())
    return frozenset(ordered[: min(max(1, round(share * count)), count - 1)])

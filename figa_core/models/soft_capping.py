"""Models that limit the scores of their attention by a tanh, as Gemma 2 does.

transformers' sdpa attention, its default, leaves the capping out without a word; its eager attention has it.
"""

from typing import Any


def caps_scores(model: Any) -> bool:
    """Whether a transformers model says in its config that it limits them."""
    return bool(getattr(model.config.get_text_config(), "attn_logit_softcapping", None))


def with_soft_capping(model: Any) -> Any:
    """The same model; with eager attention if it limits the scores of its attention."""
    if caps_scores(model):
        model.set_attn_implementation("eager")
    return model

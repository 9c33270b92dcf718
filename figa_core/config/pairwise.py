"""The judge that compares the held-out answers of two models."""

from pathlib import Path

from figa_core.config.decisions import judgement, nothing
from figa_core.config.rewards import JudgeEndpointConfig
from figa_core.config.section import Section
from figa_core.config.values import TOKENS_MAX, ModelName


class PairwiseJudgeConfig(Section):
    """An LLM that says which of two answers is better, once in each order.

    Every trained model is compared with its base. Attempts, time-outs and batches are the reviser's
    (`[revision]`, `[revision_prompt]`, `[revision_batches]`); prices and the budget are in `[spending]`.
    """

    model: ModelName | None = judgement(None, 'The provider\'s model name; "none" to compare no answers.')
    rubric: str | None = judgement(
        None, 'What makes an answer better, in words; "none" for the built-in words.'
    )
    template: Path | None = nothing(
        None,
        'Jinja2 template of the instructions; "none" for the built-in one. Its text is part of the id of '
        "every comparison.",
    )
    temperature: float | None = judgement(
        0.0,
        'Of the judge; 0 is greedy; "none" sends none, for models without a temperature.',
        ge=0,
        le=2,
    )
    max_tokens: int = judgement(1024, "Longest answer of the judge, in tokens.", ge=1, le=TOKENS_MAX)
    endpoint: JudgeEndpointConfig = nothing(JudgeEndpointConfig(), "Where it is asked, and how fast.")

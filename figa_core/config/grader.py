"""The LLM that grades changed words, for the weightings `llm_graded` and `llm_binary`."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from figa_core.config.decisions import Within, nothing, rows
from figa_core.config.section import Section
from figa_core.config.values import TOKENS_MAX, ModelName, SecretName, api_base_url, environment_variable


def _api_base_url(url: str | None) -> str | None:
    return None if url is None else api_base_url(url)


def _environment_variable(name: str | None) -> str | None:
    return None if name is None else environment_variable(name)


class GraderConfig(Section):
    """The LLM that scores the changed words of revisions, if weighting.scheme is llm_graded or llm_binary.

    Attempts, time-outs, batches and how often an unfit answer is asked for again are the reviser's
    (`[revision]`, `[revision_prompt]`, `[revision_batches]`); prices and the budget are in `[spending]`.
    """

    model: ModelName | None = rows(None, 'The provider\'s model name; "none" if no words are graded.')
    base_url: Annotated[str | None, AfterValidator(_api_base_url)] = nothing(
        None, 'Any OpenAI-compatible endpoint; "none" for revision.base_url.'
    )
    api_key_env: Annotated[str | None, AfterValidator(_environment_variable)] = nothing(
        None, 'Name of the environment variable that holds the key; "none" for the reviser\'s key.'
    )
    api_key_secret: SecretName = nothing(
        None, 'Name of a Prefect Secret block that holds the key instead; "none" for none.'
    )
    requests_per_minute: float = nothing(500, "What the provider permits.", gt=0)
    tokens_per_minute: float = nothing(200_000, "What the provider permits, prompt and answer.", gt=0)
    max_concurrency: int = nothing(
        256, "Most concurrent calls; below it latency × rate decides.", ge=1, le=4096
    )
    temperature: float | None = rows(
        0.0,
        'Of the grader; 0 is greedy; "none" sends none, for models without a temperature.',
        ge=0,
        le=2,
    )
    max_tokens: int = rows(
        2048, "Longest answer, in tokens: about 12 for each changed word.", ge=1, le=TOKENS_MAX
    )
    template: Path | None = rows(
        None, 'Jinja2 template of the instructions; "none" for the built-in one.', Within("templates")
    )
    fallback_share_max: float = nothing(
        0.2,
        "Share of pairs without usable scores, which get Levenshtein weights, before the run ends Failed.",
        ge=0,
        le=1,
    )

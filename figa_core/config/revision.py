"""How responses are revised, and what that may cost."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from figa_core.config.decisions import Decides, Within
from figa_core.config.section import Section
from figa_core.config.values import TOKENS_MAX, Name, api_base_url, environment_variable

OptionalRequestField = Literal["max_tokens", "stream"]


class RevisionConfig(Section):
    """The LLM that revises, behind an OpenAI-compatible endpoint. The key comes from the environment."""

    base_url: Annotated[str, AfterValidator(api_base_url), Decides.NOTHING] = Field(
        default="https://api.openai.com/v1", description="Any OpenAI-compatible endpoint."
    )
    model: Annotated[Name, Decides.ROWS, Within("reviser")] = Field(description="The provider's model name.")
    api_key_env: Annotated[str, AfterValidator(environment_variable), Decides.NOTHING] = Field(
        default="OPENAI_API_KEY", description="Name of the environment variable that holds the key."
    )
    requests_per_minute: Annotated[float, Decides.NOTHING] = Field(
        default=500, gt=0, description="What the provider permits."
    )
    tokens_per_minute: Annotated[float, Decides.NOTHING] = Field(
        default=200_000, gt=0, description="What the provider permits, prompt and answer."
    )
    max_concurrency: Annotated[int, Decides.NOTHING] = Field(
        default=256, ge=1, le=4096, description="Most calls under way; below it they follow latency × rate."
    )
    max_attempts: Annotated[int, Decides.NOTHING] = Field(
        default=5, ge=1, le=20, description="Attempts a row gets; a 429 uses up none."
    )
    timeout_s: Annotated[float, Decides.NOTHING] = Field(
        default=60, gt=0, le=86_400, description="Seconds for one request."
    )
    temperature: Annotated[float | None, Decides.ROWS, Within("reviser")] = Field(
        default=0.0,
        ge=0,
        le=2,
        description='Of the reviser; 0 is greedy; "none" sends none, for models that take no temperature.',
    )
    max_tokens: Annotated[int, Decides.ROWS, Within("reviser")] = Field(
        default=1024, ge=1, le=TOKENS_MAX, description="Longest revision, in tokens."
    )


class RevisionPromptConfig(Section):
    """What the reviser is told, and which of its answers are revisions."""

    with_reference: Annotated[Path | None, Decides.ROWS, Within("templates")] = Field(
        default=None,
        description='Jinja2 template for rows with a reference; "none" for the built-in one.',
    )
    without_reference: Annotated[Path | None, Decides.ROWS, Within("templates")] = Field(
        default=None, description='The one for rows without a reference; "none" for the built-in one.'
    )
    structured_output: Annotated[bool, Decides.NOTHING] = Field(
        default=True, description="Ask for JSON; an endpoint that refuses is asked for plain text."
    )
    leave_out: Annotated[tuple[OptionalRequestField, ...], Decides.NOTHING] = Field(
        default=(),
        description="Fields of the request that the endpoint does not take: max_tokens, stream. Without this "
        "the first refusal shows it. For temperature and JSON: temperature, structured_output.",
    )
    max_edit_share: Annotated[float, Decides.ROWS] = Field(
        default=0.8, gt=0, le=1, description="Above this share of edited words an answer is a rewrite."
    )
    asked_again_max: Annotated[int, Decides.ROWS] = Field(
        default=1, ge=0, le=5, description="Times an unfit answer is asked for again, with the reason."
    )


class RevisionBatchesConfig(Section):
    """How the rows are dealt to task runs, and how many may stay without an answer."""

    rows: Annotated[int, Decides.NOTHING] = Field(default=1000, ge=1, description="Rows of one task run.")
    failed_share_max: Annotated[float, Decides.NOTHING] = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of rows that may stay without an answer (failed for now, or over the budget) "
        "before the run ends Failed instead of going on to weigh and train; 0 for not one.",
    )
    refused_share_max: Annotated[float, Decides.NOTHING] = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Share of rows that may be refused for good (a content filter, a prompt that is too "
        "long) before the run ends Failed.",
    )
    drain_s: Annotated[float, Decides.NOTHING] = Field(
        default=15.0, ge=0, description="Seconds for calls under way when the run is stopped."
    )
    shared_limit: Annotated[str | None, Decides.NOTHING] = Field(
        default=None,
        description="Name of Prefect limits shared by several runs, which `python -m deployments.limits` "
        'creates; "none" for limits of this run alone.',
    )


class ModelPrice(Section):
    """A model's price, as its provider states it."""

    usd_per_million_prompt_tokens: Annotated[float, Decides.NOTHING] = Field(ge=0, description="US dollars.")
    usd_per_million_completion_tokens: Annotated[float, Decides.NOTHING] = Field(
        ge=0, description="US dollars."
    )


class SpendingConfig(Section):
    """What the reviser's calls cost, and what a run may spend on them."""

    budget_usd: Annotated[float | None, Decides.NOTHING] = Field(
        default=None, gt=0, description='Hard cap on what this run\'s rows may cost; "none" for no cap.'
    )
    prices: Annotated[dict[str, ModelPrice], Decides.NOTHING] = Field(
        default_factory=dict, description="By model name; a budget needs the price of revision.model."
    )

"""How responses are revised, and the budget for it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from figa_core.config.decisions import Decides, Within, nothing, rows
from figa_core.config.section import Section
from figa_core.config.values import TOKENS_MAX, ModelName, SecretName, api_base_url, environment_variable

OptionalRequestField = Literal["max_tokens", "stream"]


class RevisionConfig(Section):
    """The LLM that revises, behind an OpenAI-compatible endpoint. The key is never part of the settings."""

    base_url: Annotated[str, AfterValidator(api_base_url)] = nothing(
        "https://api.openai.com/v1", "Any OpenAI-compatible endpoint."
    )
    model: ModelName = rows(..., "The provider's model name.", Within("reviser"))
    api_key_env: Annotated[str, AfterValidator(environment_variable)] = nothing(
        "OPENAI_API_KEY", "Name of the environment variable that holds the key."
    )
    api_key_secret: SecretName = nothing(
        None, 'Name of a Prefect Secret block that holds the key instead; "none" for the variable.'
    )
    requests_per_minute: float = nothing(500, "What the provider permits.", gt=0)
    tokens_per_minute: float = nothing(200_000, "What the provider permits, prompt and answer.", gt=0)
    max_concurrency: int = nothing(
        256, "Most concurrent calls; below it latency × rate decides.", ge=1, le=4096
    )
    max_attempts: int = nothing(5, "Attempts per row; a 429 does not count.", ge=1, le=20)
    timeout_s: float = nothing(60, "Seconds for one request.", gt=0, le=86_400)
    temperature: float | None = rows(
        0.0,
        'Of the reviser; 0 is greedy; "none" sends none, for models without a temperature.',
        Within("reviser"),
        ge=0,
        le=2,
    )
    max_tokens: int = rows(1024, "Longest revision, in tokens.", Within("reviser"), ge=1, le=TOKENS_MAX)


class RevisionPromptConfig(Section):
    """The reviser's instructions, and which of its answers count as revisions."""

    with_reference: Path | None = rows(
        None, 'Jinja2 template for rows with a reference; "none" for the built-in one.', Within("templates")
    )
    without_reference: Path | None = rows(
        None, 'The one for rows without a reference; "none" for the built-in one.', Within("templates")
    )
    structured_output: bool = nothing(True, "Ask for JSON; an endpoint that refuses is asked for plain text.")
    leave_out: tuple[OptionalRequestField, ...] = nothing(
        (),
        "Request fields that the endpoint does not accept: max_tokens, stream. Without this "
        "the first refusal shows it. For temperature and JSON: temperature, structured_output.",
    )
    max_edit_share: float = rows(0.8, "Above this share of edited words an answer is a rewrite.", gt=0, le=1)
    asked_again_max: int = rows(1, "Times an unfit answer is asked for again, with the reason.", ge=0, le=5)


class RevisionBatchesConfig(Section):
    """How rows are split over task runs, and how many may stay without an answer."""

    rows: int = nothing(1000, "Rows of one task run.", ge=1)
    failed_share_max: float = nothing(
        0.01,
        "Share of rows that may stay without an answer (failed for now, or over the budget) "
        "before the run ends Failed instead of continuing to weigh and train; 0: none may.",
        ge=0,
        le=1,
    )
    refused_share_max: float = nothing(
        0.2,
        "Share of rows that may be refused for good (a content filter, a prompt that is too "
        "long) before the run ends Failed.",
        ge=0,
        le=1,
    )
    drain_s: float = nothing(15.0, "Seconds to wait for running calls when the run is stopped.", ge=0)
    shared_limit: str | None = nothing(
        None,
        "Name of Prefect limits shared by several runs, which `python -m deployments.limits` "
        'creates; "none" for limits of this run alone.',
    )


class ModelPrice(Section):
    """A model's price, as its provider states it."""

    usd_per_million_prompt_tokens: float = nothing(..., "US dollars.", ge=0)
    usd_per_million_completion_tokens: float = nothing(..., "US dollars.", ge=0)


class SpendingConfig(Section):
    """Prices of the calls to the reviser and the grader, and a run's budget for them together."""

    budget_usd: float | None = nothing(
        None, 'Hard cap on what this run\'s rows may cost; "none" for no cap.', gt=0
    )
    prices: Annotated[dict[str, ModelPrice], Decides.NOTHING] = Field(
        default_factory=dict,
        description="By model name; a budget needs the price of every model that is called.",
    )

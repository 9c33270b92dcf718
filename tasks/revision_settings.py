"""Turns the configuration of revisions into the plain values that the library takes."""

from dataclasses import dataclass, field
from typing import Protocol

from figa_core.config import (
    PipelineConfig,
    RevisionBatchesConfig,
    RevisionConfig,
    RevisionPromptConfig,
    SpendingConfig,
)
from figa_core.llm.budget import Price
from figa_core.llm.doubts import Suspicion, beyond_chance
from figa_core.llm.endpoint import ChatEndpoint
from figa_core.llm.question import Decoding
from figa_core.llm.settings import AskerSettings
from figa_core.revision.prompt import RESPONSE_FORMAT, load_templates
from figa_core.revision.reviser import ReviserSettings
from tasks.api_keys import api_key_of

_SECTION = "revision"


@dataclass(frozen=True, slots=True)
class RevisionSections:
    """The sections of the configuration about revisions."""

    revision: RevisionConfig
    prompt: RevisionPromptConfig = field(default_factory=RevisionPromptConfig)
    batches: RevisionBatchesConfig = field(default_factory=RevisionBatchesConfig)
    spending: SpendingConfig = field(default_factory=SpendingConfig)

    @classmethod
    def of(cls, config: PipelineConfig) -> "RevisionSections":
        return cls(config.revision, config.revision_prompt, config.revision_batches, config.spending)


def api_key(config: RevisionConfig) -> str:
    """The reviser's key; raises ConfigError if it is missing or not a key."""
    return api_key_of(config, _SECTION)


def price_of(spending: SpendingConfig, model: str) -> Price | None:
    """The model's price, if the config has one."""
    price = spending.prices.get(model)
    if price is None:
        return None
    return Price(price.usd_per_million_prompt_tokens, price.usd_per_million_completion_tokens)


class Limits(Protocol):
    """What an endpoint permits."""

    @property
    def requests_per_minute(self) -> float: ...
    @property
    def tokens_per_minute(self) -> float: ...
    @property
    def max_concurrency(self) -> int: ...


class Shared(Protocol):
    """The sections about revisions, which hold for graders and judges too."""

    @property
    def revision(self) -> RevisionConfig: ...
    @property
    def prompt(self) -> RevisionPromptConfig: ...
    @property
    def batches(self) -> RevisionBatchesConfig: ...
    @property
    def spending(self) -> SpendingConfig: ...


def asker_settings(sections: RevisionSections) -> AskerSettings:
    """How the endpoint is called."""
    config = sections.revision
    return asker_settings_of(_SECTION, config.model, config, sections, sections.batches.refused_share_max)


def asker_settings_of(
    section: str, model: str, limits: Limits, shared: Shared, share_max: float
) -> AskerSettings:
    """How an endpoint is called of which at most `share_max` of the rows may stay without an answer.

    `section` is where its settings are, for messages.
    """
    return AskerSettings(
        section,
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        max_concurrency=limits.max_concurrency,
        max_attempts=shared.revision.max_attempts,
        asked_again_max=shared.prompt.asked_again_max,
        leave_out=frozenset(shared.prompt.leave_out),
        price=price_of(shared.spending, model),
        drain_s=shared.batches.drain_s,
        suspicion=Suspicion(row=beyond_chance(share_max)),
    )


def reviser_settings(sections: RevisionSections) -> ReviserSettings:
    """How revisions are asked for and judged; raises ConfigError if a template cannot be used."""
    config, prompt = sections.revision, sections.prompt
    response_format = RESPONSE_FORMAT if prompt.structured_output else None
    return ReviserSettings(
        Decoding(config.max_tokens, config.temperature, response_format),
        prompt.max_edit_share,
        load_templates(prompt.with_reference, prompt.without_reference),
    )


def endpoint(config: RevisionConfig) -> ChatEndpoint:
    """The reviser's endpoint.

    Raises:
        ConfigError: the key is missing or not a key.
        LLMError: the address or the key is not valid.
    """
    return ChatEndpoint(
        config.base_url, config.model, api_key(config), timeout_s=config.timeout_s, section=_SECTION
    )

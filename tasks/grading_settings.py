"""Turns the configuration of grading into the plain values that the library takes."""

from dataclasses import dataclass, field

from figa_core.config import (
    PipelineConfig,
    RevisionBatchesConfig,
    RevisionConfig,
    RevisionPromptConfig,
    SpendingConfig,
)
from figa_core.config.grader import GraderConfig
from figa_core.errors import ConfigError
from figa_core.grading.grader import GraderSettings
from figa_core.grading.prompt import load_template
from figa_core.llm.endpoint import ChatEndpoint
from figa_core.llm.settings import AskerSettings
from figa_core.weighting.schemes import HIGHEST_SCORES
from tasks.api_keys import api_key_of, names_a_key
from tasks.revision_settings import api_key, asker_settings_of

_SECTION = "grader"


@dataclass(frozen=True, slots=True)
class GradingSections:
    """The sections of the configuration about grading; what `[grader]` lacks is the reviser's."""

    scheme: str
    grader: GraderConfig
    revision: RevisionConfig
    prompt: RevisionPromptConfig = field(default_factory=RevisionPromptConfig)
    batches: RevisionBatchesConfig = field(default_factory=RevisionBatchesConfig)
    spending: SpendingConfig = field(default_factory=SpendingConfig)

    @classmethod
    def of(cls, config: PipelineConfig) -> "GradingSections | None":
        """The sections of a config; None if its weighting needs no grader."""
        if config.weighting.scheme not in HIGHEST_SCORES:
            return None
        return cls(
            config.weighting.scheme,
            config.grader,
            config.revision,
            config.revision_prompt,
            config.revision_batches,
            config.spending,
        )

    @property
    def model(self) -> str:
        """The grader's model; raises ConfigError if there is none."""
        if self.grader.model is None:
            raise ConfigError(
                f"weighting.scheme: {self.scheme} needs grader.model, the LLM that grades words."
            )
        return self.grader.model

    @property
    def shared_limit(self) -> str | None:
        """The reviser's shared limits, if the grader is the same model at the same address."""
        same = (self.model, self._base_url) == (self.revision.model, self.revision.base_url)
        return self.batches.shared_limit if same else None

    @property
    def _base_url(self) -> str:
        return self.grader.base_url or self.revision.base_url


def grader_template(config: PipelineConfig) -> str | None:
    """The grader's instructions, or None if the weighting needs none; raises ConfigError."""
    sections = GradingSections.of(config)
    return None if sections is None else load_template(sections.scheme, sections.grader.template)


def grader_settings(sections: GradingSections) -> GraderSettings:
    """How words are graded; raises ConfigError if there is no model, or the template cannot be used."""
    config = sections.grader
    return GraderSettings(
        sections.scheme,
        sections.model,
        load_template(sections.scheme, config.template),
        config.temperature,
        config.max_tokens,
        sections.prompt.structured_output,
    )


def grader_asker_settings(sections: GradingSections) -> AskerSettings:
    """How the grader's endpoint is called."""
    grader = sections.grader
    return asker_settings_of(_SECTION, sections.model, grader, sections, grader.fallback_share_max)


def grader_key(sections: GradingSections) -> str:
    """The grader's own key, or the reviser's; raises ConfigError if it is missing or not a key."""
    if names_a_key(sections.grader):
        return api_key_of(sections.grader, _SECTION)
    return api_key(sections.revision)


def grader_endpoint(sections: GradingSections) -> ChatEndpoint:
    """The grader's endpoint.

    Raises:
        ConfigError: the key is missing or not a key.
        LLMError: the address or the key is not valid.
    """
    return ChatEndpoint(
        sections._base_url,
        sections.model,
        grader_key(sections),
        timeout_s=sections.revision.timeout_s,
        section=_SECTION,
    )

"""Turns the configuration of a judge into the plain values that the library takes."""

from dataclasses import dataclass, field

from figa_core import ids
from figa_core.config import (
    JudgeRewardConfig,
    PairwiseJudgeConfig,
    PipelineConfig,
    RevisionBatchesConfig,
    RevisionConfig,
    RevisionPromptConfig,
    SpendingConfig,
)
from figa_core.config.roles import used_rewards
from figa_core.errors import ConfigError
from figa_core.judging import pairwise_prompt
from figa_core.judging.judge import JudgeSettings
from figa_core.judging.pairwise import PairwiseSettings
from figa_core.judging.prompt import load_template
from figa_core.llm.endpoint import ChatEndpoint
from figa_core.llm.settings import AskerSettings
from figa_core.row_failures import SHARE_MAX
from tasks.api_keys import api_key_of, names_a_key
from tasks.revision_settings import api_key, asker_settings_of


@dataclass(frozen=True, slots=True)
class JudgeSections:
    """A judge's settings, and those that it shares with the reviser."""

    judge: JudgeRewardConfig | PairwiseJudgeConfig
    revision: RevisionConfig
    prompt: RevisionPromptConfig = field(default_factory=RevisionPromptConfig)
    batches: RevisionBatchesConfig = field(default_factory=RevisionBatchesConfig)
    spending: SpendingConfig = field(default_factory=SpendingConfig)

    @classmethod
    def of(cls, config: PipelineConfig, judge: JudgeRewardConfig | PairwiseJudgeConfig) -> "JudgeSections":
        """The judge with the other sections of a config."""
        return cls(judge, config.revision, config.revision_prompt, config.revision_batches, config.spending)

    @property
    def section(self) -> str:
        """Where its settings are, for messages."""
        if isinstance(self.judge, JudgeRewardConfig):
            return f"rewards ({self.judge.name})"
        return "evaluation.judge"

    @property
    def model(self) -> str:
        """The provider's model name; raises ConfigError if there is none."""
        name = self.judge.judge if isinstance(self.judge, JudgeRewardConfig) else self.judge.model
        if name is None:
            raise ConfigError("evaluation.judge.model is not set, so no LLM compares answers. Name one.")
        return name

    @property
    def base_url(self) -> str:
        """Where it is asked."""
        return self.judge.endpoint.base_url or self.revision.base_url

    @property
    def shared_limit(self) -> str | None:
        """The reviser's shared limits, if the judge is the same model at the same address."""
        same = (self.model, self.base_url) == (self.revision.model, self.revision.base_url)
        return self.batches.shared_limit if same else None


def judge_id(config: JudgeRewardConfig, rows: str | None) -> str:
    """The id of a judge's values (see `ids.judge_id`); raises ConfigError if its template is not usable."""
    return ids.judge_id(
        model=config.judge,
        template=load_template(config.template),
        rubric=config.rubric,
        highest_score=config.highest_score,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        fields=config.fields,
        rows=rows,
    )


def judge_templates(config: PipelineConfig) -> dict[str, str]:
    """The instructions of the judges that a run uses, by name; raises ConfigError likewise."""
    return {
        name: load_template(reward.template)
        for name, reward in used_rewards(config).items()
        if isinstance(reward, JudgeRewardConfig)
    }


def pairwise_template(config: PipelineConfig) -> str | None:
    """The instructions of the judge that compares answers, if there is one; raises ConfigError likewise."""
    judge = config.evaluation.judge
    return None if judge.model is None else pairwise_prompt.load_template(judge.template)


def pairwise_settings(sections: JudgeSections) -> PairwiseSettings:
    """What a judge of two answers is asked; raises ConfigError without a model or a usable template."""
    config = sections.judge
    return PairwiseSettings(
        sections.model,
        pairwise_prompt.load_template(config.template),
        config.rubric,
        config.temperature,
        config.max_tokens,
        sections.prompt.structured_output,
    )


def judge_settings(sections: JudgeSections) -> JudgeSettings:
    """What is asked, and of which model; raises ConfigError if the template cannot be used."""
    config = sections.judge
    assert isinstance(config, JudgeRewardConfig)
    return JudgeSettings(
        config.judge,
        load_template(config.template),
        config.rubric,
        config.highest_score,
        config.temperature,
        config.max_tokens,
        sections.prompt.structured_output,
    )


def judge_asker_settings(sections: JudgeSections) -> AskerSettings:
    """How the judge's endpoint is called."""
    return asker_settings_of(sections.section, sections.model, sections.judge.endpoint, sections, SHARE_MAX)


def judge_key(sections: JudgeSections) -> str:
    """The judge's own key, or the reviser's; raises ConfigError if it is missing or not a key."""
    if names_a_key(sections.judge.endpoint):
        return api_key_of(sections.judge.endpoint, f"{sections.section}.endpoint")
    return api_key(sections.revision)


def judge_endpoint(sections: JudgeSections) -> ChatEndpoint:
    """The judge's endpoint.

    Raises:
        ConfigError: the key is missing or not a key.
        LLMError: the address or the key is not valid.
    """
    return ChatEndpoint(
        sections.base_url,
        sections.model,
        judge_key(sections),
        timeout_s=sections.revision.timeout_s,
        section=sections.section,
    )

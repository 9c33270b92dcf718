"""What the checks before a run look at: the config, and the files that several checks read."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from figa_core.chat.format import ChatFormat
from figa_core.config import PipelineConfig, RewardConfig
from figa_core.config.rewards import SINGLE
from figa_core.config.roles import fields_of, model_rewards, the_model
from figa_core.findings import Finding
from figa_core.prompts.read import read_prompts
from figa_core.prompts.survey import PromptSurvey, survey
from figa_core.revision.prompt import PromptTemplates, load_templates
from tasks.chat_formats import generation_chat
from tasks.import_prompts import PromptCheck, row_format
from tasks.reward_models import reward_chat

ROWS_READ = 1000
_SHARED = ("prompts", "generation_chat", "read")


def say_nothing(_line: str) -> None:
    """A `say` that discards its lines."""


@dataclass
class Facts:
    """`needs_key`: whether the run will call the reviser. `say` is called before code of the user runs, which
    may never return. `planning`: nothing will be trained here, whatever the config says. `rated_by`: the name
    of the reward model that a check is about, if there are several; see `each_reward_model`. Each file is
    read once.
    """

    config: PipelineConfig
    needs_key: bool = True
    say: Callable[[str], None] = say_nothing
    planning: bool = False
    rated_by: str | None = None

    @property
    def reward(self) -> RewardConfig:
        """The reward model that a check is about; raises ConfigError if there is none."""
        if self.rated_by is not None:
            return model_rewards(self.config)[self.rated_by]
        return the_model(self.config, "this check")

    @cached_property
    def generation_chat(self) -> ChatFormat:
        """Tokenizer and template of the model to align; raises ConfigError, see `load_chat_format`."""
        return generation_chat(self.config.generation)

    @cached_property
    def reward_chat(self) -> ChatFormat:
        """Tokenizer and template of the reward model; raises ConfigError likewise."""
        return reward_chat(self.reward)

    @cached_property
    def prompts(self) -> PromptSurvey:
        """The first thousand rows of the prompts file; raises InputError, see `read_prompts`."""
        prompts = self.config.prompts
        limit = ROWS_READ + 1 if prompts.limit is None else min(prompts.limit, ROWS_READ + 1)
        return survey(
            read_prompts(prompts.path, row_format(prompts, fields_of(self.config)), limit), ROWS_READ
        )

    @cached_property
    def read(self) -> list[tuple[tuple[int, ...] | str, str | None]]:
        """The token ids of each prompt, or why it has none, and why it cannot be used; raises as these do."""
        check = PromptCheck(self.generation_chat, [], self.config.prompts)
        prompts = self.prompts.all_prompts
        found = self.generation_chat.prompt_ids_or_reasons([prompt.messages for prompt in prompts])
        return [(ids, check.problem(prompt, ids)) for prompt, ids in zip(prompts, found, strict=True)]

    @cached_property
    def templates(self) -> PromptTemplates:
        """The reviser's instructions; raises ConfigError, see `load_templates`."""
        prompt = self.config.revision_prompt
        return load_templates(prompt.with_reference, prompt.without_reference)


def each_reward_model(find: Callable[[Facts], Iterable[Finding]]) -> Callable[[Facts], Iterator[Finding]]:
    """A check of one reward model as a check of all of them; findings name the one that they are about."""

    def find_all(facts: Facts) -> Iterator[Finding]:
        for name in model_rewards(facts.config):
            of_one = replace(facts, rated_by=name)
            vars(of_one).update({key: value for key, value in vars(facts).items() if key in _SHARED})
            for finding in find(of_one):
                yield finding if name == SINGLE else _about(finding, f"rewards ({name}).")

    return find_all


def _about(finding: Finding, setting: str) -> Finding:
    where, text = (re.sub(r"\breward\.(?=\w)", setting, each) for each in (finding.where, finding.text))
    return replace(finding, where=where, text=text)

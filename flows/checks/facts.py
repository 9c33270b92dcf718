"""What the checks before a run look at: the config, and the files that several checks read."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from figa_core.chat.format import ChatFormat
from figa_core.config import PipelineConfig
from figa_core.prompts.read import read_prompts
from figa_core.prompts.survey import PromptSurvey, survey
from figa_core.revision.prompt import PromptTemplates, load_templates
from tasks.chat_formats import generation_chat
from tasks.import_prompts import row_format
from tasks.reward_models import reward_chat

ROWS_READ = 1000


def say_nothing(_line: str) -> None:
    """A `say` that discards its lines."""


@dataclass
class Facts:
    """`needs_key`: whether the run will call the reviser. `say` is called before code of the user runs, which
    may never return. `planning`: nothing will be trained here, whatever the config says. Each file is read
    once.
    """

    config: PipelineConfig
    needs_key: bool = True
    say: Callable[[str], None] = say_nothing
    planning: bool = False

    @cached_property
    def generation_chat(self) -> ChatFormat:
        """Tokenizer and template of the model to align; raises ConfigError, see `load_chat_format`."""
        return generation_chat(self.config.generation)

    @cached_property
    def reward_chat(self) -> ChatFormat:
        """Tokenizer and template of the reward model; raises ConfigError likewise."""
        return reward_chat(self.config.reward)

    @cached_property
    def prompts(self) -> PromptSurvey:
        """The first thousand rows of the prompts file; raises InputError, see `read_prompts`."""
        prompts = self.config.prompts
        limit = ROWS_READ + 1 if prompts.limit is None else min(prompts.limit, ROWS_READ + 1)
        return survey(read_prompts(prompts.path, row_format(prompts), limit), ROWS_READ)

    @cached_property
    def templates(self) -> PromptTemplates:
        """The reviser's instructions; raises ConfigError, see `load_templates`."""
        prompt = self.config.revision_prompt
        return load_templates(prompt.with_reference, prompt.without_reference)

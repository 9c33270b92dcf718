"""What the settings give the chat template, and what they do with the thoughts of a model that has some."""

from collections.abc import Iterator

from figa_core.chat.format import load_chat_format
from figa_core.chat.thinking import SWITCHES, off_switch, thoughts_of
from figa_core.config import GenerationConfig
from figa_core.findings import Finding, problem, warning
from figa_core.training.objectives.registry import objective_named
from flows.checks.facts import Facts
from flows.checks.settings import objectives

_THINKING, _VARIABLES = "generation.thinking", "generation.chat_template_kwargs"


def check_thinking(facts: Facts) -> Iterator[Finding]:
    """The chat template reads what it is given, and the training can take the model's thoughts."""
    config, chat = facts.config.generation, facts.generation_chat
    for name in sorted(config.chat_template_kwargs):
        if name not in chat.template:
            yield problem(
                _VARIABLES, f"the chat template of {config.model} does not read {name!r}. Remove it."
            )
    thoughts = thoughts_of(chat)
    if thoughts is None:
        if config.thinking != "keep":
            yield warning(
                _THINKING,
                f"has no effect: neither the chat template nor the vocabulary of {config.model} has marks of "
                "thoughts, such as <think>.",
            )
    elif config.thinking == "off":
        yield from _not_off(config)
    elif config.thinking == "keep" and thoughts.in_template:
        yield from _not_kept(facts)
    elif config.thinking == "cut" and thoughts.begun:
        yield problem(
            _THINKING,
            f'the prompts of {config.model} end within a thought, so with "cut" the model would learn to '
            'answer there. Set "keep".',
        )


def _not_off(config: GenerationConfig) -> Iterator[Finding]:
    if given := sorted(set(SWITCHES) & config.chat_template_kwargs.keys()):
        yield problem(_VARIABLES, f'{given[0]} is set by {_THINKING} = "off" already. Remove one of them.')
    elif off_switch(load_chat_format(config.model, config.chat_template_kwargs)) is None:
        yield problem(
            _THINKING,
            f'the chat template of {config.model} ignores enable_thinking, so "off" would not keep the model '
            'from thinking. Set "keep" or "cut".',
        )


def _not_kept(facts: Facts) -> Iterator[Finding]:
    """An answer is trained on after the thought that came before the response of its pair."""
    for name, setting in objectives(facts.config).items():
        objective = objective_named(name)
        if objective.prompt_words:
            what = "asks with words of its own, which would come after the thought"
        elif "best" in objective.answers:
            what = "trains on another sample than the one that the thought belongs to"
        else:
            continue
        yield problem(
            setting, f'{name} {what}. Set {_THINKING} to "off" or "cut", or choose another objective.'
        )

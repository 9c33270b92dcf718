"""The chat format of the model to align, with what the settings give its template."""

from pathlib import Path
from typing import Any

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.chat.thinking import Thoughts, off_switch
from figa_core.config import GenerationConfig

_MEANT = {
    "off": "it is asked not to think, and what it thinks anyway is kept apart from its answers",
    "keep": "thoughts are kept apart from the answers, and put back in front of them for the training",
    "cut": "thoughts are kept apart from the answers, and the training does not see them",
}


def template_variables(config: GenerationConfig) -> dict[str, Any]:
    """What the chat template gets besides the messages; that of a trained model likewise.

    Raises:
        ConfigError: see `load_chat_format`.
    """
    if config.thinking != "off":
        return dict(config.chat_template_kwargs)
    switch = off_switch(load_chat_format(config.model, config.chat_template_kwargs))
    return {**config.chat_template_kwargs, **(switch or {})}


def generation_chat(config: GenerationConfig, model: Path | None = None) -> ChatFormat:
    """The chat format of the model to align, or of one that was trained from it.

    Raises:
        ConfigError: see `load_chat_format`.
    """
    return load_chat_format(model or config.model, template_variables(config))


def thinking_line(config: GenerationConfig, thoughts: Thoughts) -> str:
    """What is known of the model's thoughts and what is done with them, for people."""
    return (
        f"{config.model.name} thinks before it answers ({thoughts.shown}): "
        f'{_MEANT[config.thinking]} (generation.thinking = "{config.thinking}")'
    )

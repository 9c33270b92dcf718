"""Reward models to load: one as engines want it is itself, and another is written in that form once."""

import hashlib
import logging
from pathlib import Path
from typing import Any

from figa_core import ids
from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.config import RewardConfig
from figa_core.errors import ConfigError, EngineError
from figa_core.inference.engine import SERVER
from figa_core.models.config_json import read_config
from figa_core.models.fingerprint import model_fingerprint
from figa_core.models.plain_reward import is_plain, is_plain_form_of, write_plain_form
from figa_core.models.reward_head import RewardHead, head_file, label_index, reward_head
from figa_core.models.weight_files import read_weights
from tasks.workspace import Workspace

_LOGGER = logging.getLogger("figa_core.models")


def form_of(config: RewardConfig) -> dict[str, Any]:
    """The label and the chat template of a scorer's id, if they are not the model's own."""
    return {"label": _label(config), "template": _template_hash(config)}


def reward_chat(config: RewardConfig) -> ChatFormat:
    """The reward model's tokenizer, with its template or that of the settings.

    Raises:
        ConfigError: see `load_chat_format`; or the file of the template cannot be read.
    """
    chat, template = load_chat_format(config.model), _template(config)
    return chat if template is None else chat.with_template(template)


def loaded_reward_model(workspace: Workspace, config: RewardConfig, engine: str) -> Path:
    """The directory that an engine loads: `config.model`, or its plain form in the workspace.

    Servers have loaded a model already, as their user chose.

    Raises:
        EngineError: the model has no such label, or its plain form cannot be written.
        ConfigError: the file of the template cannot be read.
    """
    head, template = _head(config.model), _template(config)
    if engine == SERVER or (template is None and (head is None or is_plain(head))):
        return config.model
    fingerprint = model_fingerprint(config.model, workspace.fingerprints)
    name = ids.reward_form_id(fingerprint, **form_of(config))
    target = workspace.reward_form(name)
    if not is_plain_form_of(config.model, target):
        _LOGGER.info("%s: written in the form that engines load, once: %s", config.model, target)
        write_plain_form(config.model, target, config.label, template)
    return target


def served_label(config: RewardConfig) -> int | None:
    """The place of the reward among the values of a server; None if the model has one."""
    return _label(config) if config.engine == SERVER else None


def _label(config: RewardConfig) -> int | None:
    """The row of the head that is the reward, of a model with several labels."""
    if config.label is None:
        return None
    head = _head(config.model)
    if head is None or len(head.names) == 1:
        return None
    return label_index(config.model, head, config.label)


def _head(model: Path) -> RewardHead | None:
    """The head; None also if there is no such model here, which the engines say."""
    if not model.is_dir():
        return None
    weights = read_weights(model)
    if weights.problems:
        raise EngineError("\n".join(weights.problems))
    return reward_head(model, read_config(model), {**weights.tensors, **head_file(model)})


def _template(config: RewardConfig) -> str | None:
    if config.chat_template is None:
        return None
    try:
        return config.chat_template.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"reward.chat_template = {config.chat_template}: cannot be read: {error}. Correct the path."
        ) from error


def _template_hash(config: RewardConfig) -> str | None:
    template = _template(config)
    return None if template is None else hashlib.sha256(template.encode()).hexdigest()

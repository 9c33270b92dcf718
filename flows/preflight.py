"""What must be right before a run starts or spends anything; every check is cheap."""

import json
from pathlib import Path

from figa_core.chat import load_chat_format
from figa_core.config import PipelineConfig
from figa_core.errors import ConfigError
from figa_core.fingerprint import model_fingerprint
from figa_core.prompts import read_prompts
from figa_core.revision.prompt import load_templates
from tasks.engines import check_engine
from tasks.evaluate import load_verifier
from tasks.import_prompts import row_format
from tasks.revise import api_key


def check(config: PipelineConfig, *, needs_key: bool = True) -> None:
    """Refuse a config that cannot work; `needs_key`: whether the reviser is going to be asked.

    Raises:
        ConfigError: settings that do not fit each other or the models, a missing key or verifier, a prompt
            template that cannot be used.
        InputError: a model directory or the prompts file is missing or of a wrong kind.
        EngineError: an engine that is asked for by name is not there.
    """
    for model in (config.generation.model, config.reward.model):
        model_fingerprint(model)
        load_chat_format(model)
    for engine in (config.generation.engine, config.reward.engine):
        check_engine(engine)
    prompts = config.prompts
    next(read_prompts(prompts.path, row_format(prompts), 1), None)
    load_templates(config.revision_prompt.with_reference, config.revision_prompt.without_reference)
    if needs_key:
        api_key(config.revision)
    if config.evaluation.verifier is not None:
        load_verifier(config.evaluation.verifier)
    if config.loss.objective in config.evaluation.baselines:
        raise ConfigError(
            f"evaluation.baselines: {config.loss.objective} is the main objective already. Take it out."
        )
    _check_lengths(config)


def _check_lengths(config: PipelineConfig) -> None:
    asked = config.prompts.max_prompt_tokens + config.generation.max_tokens
    limits = (
        ("prompts.max_prompt_tokens + generation.max_tokens", asked, config.generation.model),
        ("weighting.max_length", config.weighting.max_length, config.generation.model),
        ("reward.max_length", config.reward.max_length, config.reward.model),
    )
    for setting, tokens, model in limits:
        longest = _longest_input(model)
        if longest is not None and tokens > longest:
            raise ConfigError(
                f"{setting} is {tokens} tokens, and {model} takes {longest} (max_position_embeddings). "
                "Lower the setting, or use a model with a longer context."
            )
    if config.weighting.max_length > config.training.tokens_per_batch:
        raise ConfigError(
            f"weighting.max_length is {config.weighting.max_length} tokens, and a forward pass takes "
            f"training.tokens_per_batch = {config.training.tokens_per_batch}. Raise that, or lower this."
        )


def _longest_input(model: Path) -> int | None:
    settings = json.loads((model / "config.json").read_text(encoding="utf-8"))
    longest = settings.get("max_position_embeddings")
    return longest if isinstance(longest, int) else None

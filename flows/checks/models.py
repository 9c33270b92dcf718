"""The model to align and the reward model: whether they can be loaded and take what they will be given."""

import json
from collections.abc import Iterator
from pathlib import Path

from figa_core.findings import Finding, problem
from figa_core.fingerprint import model_fingerprint
from flows.checks.facts import Facts
from tasks.engines import check_engine


def check_generation_model(facts: Facts) -> Iterator[Finding]:
    """Its files, tokenizer and template."""
    model_fingerprint(facts.config.generation.model)
    _ = facts.generation_chat
    yield from ()


def check_reward_model(facts: Facts) -> Iterator[Finding]:
    """Its files, tokenizer and template."""
    model_fingerprint(facts.config.reward.model)
    _ = facts.reward_chat
    yield from ()


def check_engines(facts: Facts) -> Iterator[Finding]:
    """Engines that are asked for by name are there; raises EngineError."""
    for engine in dict.fromkeys((facts.config.generation.engine, facts.config.reward.engine)):
        check_engine(engine)
    yield from ()


def check_generation_lengths(facts: Facts) -> Iterator[Finding]:
    """What the model to align is given fits into its context."""
    config = facts.config
    asked = config.prompts.max_prompt_tokens + config.generation.max_tokens
    yield from _too_long("prompts.max_prompt_tokens + generation.max_tokens", asked, config.generation.model)
    yield from _too_long("weighting.max_length", config.weighting.max_length, config.generation.model)


def check_reward_lengths(facts: Facts) -> Iterator[Finding]:
    """What the reward model is given fits into its context."""
    reward = facts.config.reward
    yield from _too_long("reward.max_length", reward.max_length, reward.model)


def _too_long(setting: str, tokens: int, model: Path) -> Iterator[Finding]:
    longest = _longest_input(model)
    if longest is not None and tokens > longest:
        yield problem(
            "",
            f"{setting} is {tokens} tokens, and {model} takes {longest} (max_position_embeddings). "
            "Lower the setting, or use a model with a longer context.",
        )


def _longest_input(model: Path) -> int | None:
    settings = json.loads((model / "config.json").read_text(encoding="utf-8"))
    longest = settings.get("max_position_embeddings")
    return longest if isinstance(longest, int) else None

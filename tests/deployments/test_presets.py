"""Every preset is a valid config, and its lengths fit together."""

from pathlib import Path

import pytest

from figa_core.config.file import load_config
from figa_core.config.roles import model_rewards
from figa_core.sandbox.base_model import POSITIONS
from flows.demo import REAL, SANDBOX, Demo

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "deployments" / "presets").glob("*.toml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_a_valid_config(path: Path) -> None:
    assert load_config(path).workspace.name == path.stem or path.stem == "openai"


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_what_a_preset_generates_fits_the_reward_model_and_the_training(path: Path) -> None:
    config = load_config(path)
    longest = config.prompts.max_prompt_tokens + config.generation.max_tokens
    assert all(longest <= reward.max_length for reward in model_rewards(config).values())
    assert longest <= config.weighting.max_length
    assert config.weighting.max_length <= config.training.tokens_per_batch


def test_with_the_openai_preset_the_longest_revision_of_the_longest_prompt_is_not_cut() -> None:
    config = load_config(ROOT / "deployments" / "presets" / "openai.toml")
    assert config.prompts.max_prompt_tokens + config.revision.max_tokens <= config.weighting.max_length


@pytest.mark.parametrize("demo", [SANDBOX, REAL], ids=["sandbox", "real"])
def test_a_demo_asks_its_reward_model_for_no_longer_texts_than_it_reads(demo: Demo) -> None:
    rewards = model_rewards(load_config(demo.preset)).values()
    assert all(reward.max_length <= POSITIONS for reward in rewards)


def test_the_demos_run_presets() -> None:
    assert {SANDBOX.preset, REAL.preset} <= set(PRESETS)
    assert SANDBOX.preset != REAL.preset

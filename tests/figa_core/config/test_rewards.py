"""The list of rewards: its kinds, what is wrong with it, and which is used for what."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.config import (
    JudgeRewardConfig,
    ModelRewardConfig,
    PipelineConfig,
    ProgramRewardConfig,
)
from figa_core.config.file import load_config, parse_config
from figa_core.config.roles import (
    Roles,
    dependent_judge,
    fields_of,
    model_problem,
    model_rewards,
    parts_of,
    roles_of,
    the_model,
    used_rewards,
)
from figa_core.errors import ConfigError

HELPFUL = {"name": "helpful", "model": "models/reward"}
FACTS = {"name": "facts", "program": "m:f", "fields": ["answer", "reference"]}
TONE = {"name": "tone", "judge": "gpt", "template": "judge.jinja"}


def config(*rewards: dict[str, Any], **sections: Any) -> PipelineConfig:
    data = {
        "workspace": {"path": "w"},
        "prompts": {"path": "p"},
        "generation": {"model": "g"},
        "revision": {"model": "m"},
        **sections,
    }
    if rewards:
        data["rewards"] = list(rewards)
    return parse_config(data, source="a form", base=Path("/base"))


def test_each_kind_is_known_by_its_key_and_its_paths_are_anchored() -> None:
    found = config(HELPFUL, FACTS, TONE)
    model, program, judge = found.rewards
    assert isinstance(model, ModelRewardConfig)
    assert isinstance(program, ProgramRewardConfig)
    assert isinstance(judge, JudgeRewardConfig)
    assert model.model == Path("/base/models/reward")
    assert judge.template == Path("/base/judge.jinja")
    assert found.reward is None
    stored = found.model_dump(mode="json")
    assert parse_config(stored, source="a stored run", base=Path("/base")) == found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "x"}, "rewards.0: needs one of these keys, and only one: model, program, judge"),
        ({**HELPFUL, "program": "m:f"}, "rewards.0: needs one of these keys, and only one"),
        ({**FACTS, "program": "m"}, 'rewards.0.program: must be "module:function"'),
        ({**FACTS, "time_limit": 3}, "rewards.0.time_limit: unknown setting; did you mean 'time_limit_s'?"),
        ({**FACTS, "memory_limit_mib": 1}, "rewards.0.memory_limit_mib: Input should be greater than"),
        ({**FACTS, "fields": ["a", "a"]}, "rewards.0.fields: 'a' is listed twice"),
        ({**FACTS, "weight": "nan"}, "rewards.0.weight: Input should be a finite number"),
        ({"program": "m:f"}, "rewards.0.name: missing; add it"),
        ({**TONE, "name": "combined"}, "rewards.0.name: 'combined' is what all rewards together are called"),
        ({**TONE, "highest_score": 1}, "rewards.0.highest_score: Input should be greater than"),
        (
            {**TONE, "endpoint": {"base_url": "x"}},
            "rewards.0.endpoint.base_url: must be an http",
        ),
        ({**TONE, "template": "~no-such-user/t"}, "rewards.0.template: no home directory is known"),
    ],
)
def test_what_is_wrong_with_one_is_named_with_its_place(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(wrong, loss={"bet": 1})
    assert message in str(caught.value)
    assert "loss.bet: unknown setting" in str(caught.value)


def test_there_must_be_a_reward_and_only_one_way_to_say_it() -> None:
    with pytest.raises(ConfigError, match=r"reward: missing; add it, or a list of \[\[rewards\]\]"):
        config()
    with pytest.raises(ConfigError, match=r"reward: there is also a list of \[\[rewards\]\]"):
        config(HELPFUL, reward={"model": "r"})
    with pytest.raises(ConfigError, match="several rewards are called 'helpful'"):
        config(HELPFUL, {**TONE, "name": "helpful"})
    with pytest.raises(ValueError, match="reward: missing"):
        PipelineConfig.model_validate(config(HELPFUL).model_dump() | {"rewards": ()})


def test_a_use_without_a_name_goes_by_the_use_before_it() -> None:
    assert roles_of(config(HELPFUL, FACTS)) == Roles("combined", "combined", "combined")
    named = config(HELPFUL, FACTS, filter={"reward": "facts"}, evaluation={"reward": "helpful"})
    assert roles_of(named) == Roles("facts", "facts", "helpful")
    assert list(used_rewards(named)) == ["facts", "helpful"]
    assert list(parts_of(config(HELPFUL, {**FACTS, "weight": 0}), "combined")) == ["helpful"]
    assert list(used_rewards(config(reward={"model": "r"}))) == ["reward"]


def test_a_judge_that_had_a_part_in_the_choice_of_the_pairs_is_not_independent() -> None:
    assert "judged by the reward, which also chose" in (dependent_judge(config(reward={"model": "r"})) or "")
    assert dependent_judge(config(reward={"model": "r"}, evaluation={"verifier": "m:f"})) is None
    independent = config(HELPFUL, {**TONE, "weight": 0}, evaluation={"reward": "tone"})
    assert dependent_judge(independent) is None
    shared = config(HELPFUL, TONE, evaluation={"reward": "tone"})
    assert "'tone'" in (dependent_judge(shared) or "")
    by_filter = config(HELPFUL, TONE, filter={"reward": "tone"}, admission={"reward": "helpful"})
    assert "'helpful'" in (dependent_judge(by_filter) or "")


def test_fields_of_the_rows_are_those_of_all_rewards_each_once() -> None:
    listed = config(FACTS, {**TONE, "fields": ["type", "tests", "answer"]})
    assert fields_of(listed) == ("answer", "tests")
    assert fields_of(config(HELPFUL)) == ()


def test_what_needs_one_reward_model_gets_it_or_says_why_not() -> None:
    assert the_model(config(reward={"model": "r"}), "ppo").model == Path("/base/r")
    chosen = config(HELPFUL, FACTS, admission={"reward": "helpful"})
    assert (model_problem(chosen), the_model(chosen, "ppo").model) == (None, Path("/base/models/reward"))
    assert list(model_rewards(chosen)) == ["helpful"]
    for unfit in (config(HELPFUL, FACTS), config(FACTS)):
        with pytest.raises(ConfigError, match="ppo: it needs one reward model"):
            the_model(unfit, "ppo")


def test_the_preset_uses_every_kind_and_an_independent_judge() -> None:
    path = Path(__file__).parents[3] / "deployments" / "presets" / "rewards.toml"
    found = load_config(path)
    assert {type(reward) for reward in found.rewards} == {
        ModelRewardConfig,
        ProgramRewardConfig,
        JudgeRewardConfig,
    }
    assert roles_of(found) == Roles("combined", "combined", "judge")
    assert dependent_judge(found) is None

"""Which of a run's rewards filters, which one its pairs are trained on, and which one judges."""

from typing import NamedTuple

from figa_core.config import JudgeRewardConfig, PipelineConfig, ProgramRewardConfig, RewardConfig
from figa_core.config.rewards import COMBINED, SINGLE
from figa_core.errors import ConfigError

OneReward = RewardConfig | ProgramRewardConfig | JudgeRewardConfig


class Roles(NamedTuple):
    """The name of the reward for each use; `COMBINED` for several at once.

    `training` admits revisions, and is the reward of the pairs in the shards. `judge` rates the models'
    answers at the end.
    """

    filter: str
    training: str
    judge: str


def rewards_by_name(config: PipelineConfig) -> dict[str, OneReward]:
    """All rewards of the settings."""
    if config.reward is not None:
        return {SINGLE: config.reward}
    return {each.name: each for each in config.rewards}


def weight_of(reward: OneReward) -> float:
    """Its share when rewards are combined."""
    return 1.0 if type(reward) is RewardConfig else reward.weight  # pyright: ignore[reportAttributeAccessIssue]


def roles_of(config: PipelineConfig) -> Roles:
    """The names in the settings; one that is not given is that of the use before it."""
    filtering = config.filter.reward or COMBINED
    training = config.admission.reward or filtering
    return Roles(filtering, training, config.evaluation.reward or training)


def parts_of(config: PipelineConfig, name: str) -> dict[str, OneReward]:
    """The rewards that one name stands for: itself, or all with a weight.

    Raises:
        ConfigError: there is none of this name, or none with a weight.
    """
    known = rewards_by_name(config)
    if name == COMBINED:
        parts = {each: reward for each, reward in known.items() if weight_of(reward) != 0}
        if parts:
            return parts
        raise ConfigError("rewards: every weight is 0, so there is nothing to combine. Give one a weight.")
    if name not in known:
        names = ", ".join(map(repr, known))
        raise ConfigError(f"there is no reward {name!r}; the rewards are {names}, and {COMBINED!r} is all.")
    return {name: known[name]}


def used_rewards(config: PipelineConfig) -> dict[str, OneReward]:
    """The rewards that a run with these settings computes, by name; raises ConfigError as `parts_of`."""
    names = dict.fromkeys(roles_of(config))
    return {name: reward for each in names for name, reward in parts_of(config, each).items()}


def model_rewards(config: PipelineConfig) -> dict[str, RewardConfig]:
    """The reward models among them, by name."""
    return {name: each for name, each in used_rewards(config).items() if isinstance(each, RewardConfig)}


def fields_of(config: PipelineConfig) -> tuple[str, ...]:
    """The fields of the prompts' rows that rewards get, other than the reference and the type."""
    named = (f for reward in rewards_by_name(config).values() for f in getattr(reward, "fields", ()))
    return tuple(dict.fromkeys(field for field in named if field not in ("reference", "type")))


def dependent_judge(config: PipelineConfig) -> str | None:
    """What to say if the models are judged by a reward that chose their pairs; None if they are not."""
    if config.evaluation.verifier is not None:
        return None
    roles = roles_of(config)
    judging = parts_of(config, roles.judge)
    chosen = {*parts_of(config, roles.filter), *parts_of(config, roles.training)}
    if not (shared := [name for name in judging if name in chosen]):
        return None
    named = "the reward" if config.reward is not None else f"the reward {' and '.join(map(repr, shared))}"
    return (
        f"the models are judged by {named}, which also chose the pairs that they were trained on: "
        "a better reward may be one that they have learnt to exploit."
    )


def rl_problem(config: PipelineConfig, *, takes_any: bool) -> str | None:
    """Why a method cannot learn from rewards of its own samples with the reward of the pairs; None if it can.

    `takes_any`: it takes a number for each sample, and not only one reward model.

    Raises:
        ConfigError: as `parts_of`.
    """
    parts = parts_of(config, roles_of(config).training)
    judges = [name for name, each in parts.items() if isinstance(each, JudgeRewardConfig)]
    if judges:
        named = " and ".join(f"the judge {name!r}" for name in judges)
        return (
            f"a training would ask {named} about every sample that it draws: thousands of paid questions "
            "that no budget or journal covers, and all of them again if the training begins anew. Name a "
            "reward model or a program in admission.reward, give the judge a weight of 0, or leave the "
            "method out"
        )
    if takes_any or (len(parts) == 1 and all(isinstance(each, RewardConfig) for each in parts.values())):
        return None
    named = " and ".join(f"{name!r} ({_kind_of(each)})" for name, each in parts.items())
    return (
        f"it learns from one reward model, and the reward of the pairs is {named}. Use grpo or rloo, which "
        "learn from any of them and from several combined, or name a reward model in admission.reward"
    )


def _kind_of(reward: OneReward) -> str:
    if isinstance(reward, ProgramRewardConfig):
        return f"the program {reward.program}"
    if isinstance(reward, JudgeRewardConfig):
        return f"the judge {reward.judge}"
    return f"the reward model {reward.model.name}"


def model_problem(config: PipelineConfig) -> str | None:
    """Why what needs one reward model cannot use the reward of the pairs; None if it can."""
    name = roles_of(config).training
    parts = tuple(parts_of(config, name).values())
    if len(parts) == 1 and isinstance(parts[0], RewardConfig):
        return None
    return f"it needs one reward model, and admission.reward, {name!r}, is none"


def the_model(config: PipelineConfig, use: str) -> RewardConfig:
    """The reward model of the pairs, for what needs one model; raises ConfigError if it is none."""
    if problem := model_problem(config):
        raise ConfigError(f"{use}: {problem}. Set it to the name of a reward model.")
    [reward] = parts_of(config, roles_of(config).training).values()
    assert isinstance(reward, RewardConfig)
    return reward

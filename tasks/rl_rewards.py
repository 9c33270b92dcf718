"""The run's reward as a training by reinforcement learning gets it, and what of it the training could use."""

from collections.abc import Sequence

from figa_core.config import JudgeRewardConfig, PipelineConfig, ProgramRewardConfig
from figa_core.config.roles import parts_of, roles_of, weight_of
from figa_core.errors import ConfigError, InputError
from figa_core.inference.engine import TRANSFORMERS
from figa_core.rewards.combination import Term, terms_of
from figa_core.rl.job import ALIKE, UNSCORED, RlJob
from figa_core.rl.job_rewards import JobReward, ModelReward, ProgramReward
from figa_core.row_failures import SHARE_MAX
from figa_core.storage import combined
from figa_core.training.metrics import StepMetrics
from tasks.reward_facts import kind_of
from tasks.reward_models import loaded_reward_model
from tasks.rewards import Part, Reward, check_unchanged
from tasks.workspace import Workspace


def job_rewards(workspace: Workspace, reward: Reward) -> tuple[JobReward, ...]:
    """Its parts, with the scale that the run has stored, in the order in which `combine` adds them up.

    None if a judge is one of them: no training can use it (`roles.rl_problem`).

    Raises:
        InputError: a program has changed since the run began, or the run's responses have no scale yet.
        EngineError: a reward model cannot be written in the form that engines load.
    """
    if any(isinstance(part.config, JudgeRewardConfig) for part in reward.parts):
        return ()
    if not reward.is_combined:
        return tuple(
            _job_reward(workspace, part, Term(part.name, part.scorer, 0.0, 1.0)) for part in reward.parts
        )
    parts = {part.scorer: part for part in reward.parts}
    scales = combined.scales_of(workspace.database, reward.scorer)
    if {scale.part_id for scale in scales} != parts.keys():
        raise InputError(
            "the rewards of this run have no common scale yet: its responses are not scored. Run `figa run` "
            "with its settings first."
        )
    names = {scorer: part.name for scorer, part in parts.items()}
    weights = {scorer: part.weight for scorer, part in parts.items()}
    return tuple(_job_reward(workspace, parts[t.part_id], t) for t in terms_of(scales, names, weights))


def _job_reward(workspace: Workspace, part: Part, term: Term) -> JobReward:
    config = part.config
    assert not isinstance(config, JudgeRewardConfig)
    if isinstance(config, ProgramRewardConfig):
        check_unchanged(part)
        return ProgramReward(
            name=part.name,
            function=config.program,
            source=part.source,
            fields=config.fields,
            time_limit_s=config.time_limit_s,
            memory_limit_mib=config.memory_limit_mib,
            processes=config.processes,
            mean=term.mean,
            factor=term.factor,
        )
    return ModelReward(
        name=part.name,
        model=loaded_reward_model(workspace, config, TRANSFORMERS),
        max_length=config.max_length,
        mean=term.mean,
        factor=term.factor,
    )


def fields_wanted(rewards: Sequence[JobReward]) -> tuple[str, ...]:
    """The fields of the prompts' rows that its programs get, each once."""
    named = (field for each in rewards if isinstance(each, ProgramReward) for field in each.fields)
    return tuple(dict.fromkeys(named))


def rewards_learnt_from(config: PipelineConfig) -> tuple[str, ...]:
    """What a report says of each reward that methods of reinforcement learning use."""
    try:
        parts = parts_of(config, roles_of(config).training)
    except ConfigError:
        return ()
    if len(parts) == 1:
        return tuple(f"{name!r} ({kind_of(each)})" for name, each in parts.items())
    return tuple(f"{name!r} ({kind_of(each)}, weight {weight_of(each):g})" for name, each in parts.items())


def reward_remark(job: RlJob, steps: Sequence[StepMetrics]) -> str:
    """What of a training's samples taught it nothing, if that is much of them; or empty."""
    samples = sum(step.pairs for step in steps)
    alike, unscored = count_of(steps, ALIKE), count_of(steps, UNSCORED)
    texts = []
    if samples and job.samples_per_prompt > 1 and alike == samples:
        same = "; it is the base model" if not any(step.grad_norm for step in steps) else ""
        texts.append(
            f"no two samples of a prompt had different rewards, so there was nothing to learn from them{same}"
        )
    elif 2 * alike > samples and job.samples_per_prompt > 1:
        texts.append(f"{alike:,} of {samples:,} samples differed in reward from no other of their prompt")
    if unscored > SHARE_MAX * samples:
        texts.append(f"{unscored:,} of {samples:,} samples had no reward")
    return "; ".join(texts)


def sample_facts(steps: Sequence[StepMetrics]) -> dict[str, str]:
    """Of a training's curve: the samples that taught it nothing, if there are any."""
    samples = sum(step.pairs for step in steps)
    found = {
        "samples without a difference in reward": count_of(steps, ALIKE),
        "samples without a reward": count_of(steps, UNSCORED),
    }
    return {name: f"{count:,} of {samples:,}" for name, count in found.items() if count}


def count_of(steps: Sequence[StepMetrics], name: str) -> int:
    """The sum of a figure that counts something."""
    return sum(int(step.figures.get(name) or 0) for step in steps)

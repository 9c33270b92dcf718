"""What a report says of a run's rewards: each of a list, and whether the models' judge is independent."""

from collections.abc import Iterator

from figa_core.config import JudgeRewardConfig, PipelineConfig, ProgramRewardConfig
from figa_core.config.roles import (
    OneReward,
    dependent_judge,
    parts_of,
    rewards_by_name,
    roles_of,
    weight_of,
)
from figa_core.errors import ConfigError
from figa_core.report.data import RewardFacts
from figa_core.storage import summary
from figa_core.storage.combined import scales_of
from figa_core.storage.database import Database
from figa_core.storage.runs import Run

_USES = {"filter": "filter", "training": "admit and weigh pairs", "judge": "judge models"}


def reward_facts(database: Database, run: Run, config: PipelineConfig) -> tuple[RewardFacts, ...]:
    """One for each of `[[rewards]]`; none for a single reward model."""
    if not config.rewards:
        return ()
    uses = _uses(config)
    found = []
    for name, reward in rewards_by_name(config).items():
        scorer = run.found.reward_scorers.get(name, "")
        generator = run.found.generator
        rated, mean, deviation, without = summary.reward_values(database, run.run_id, generator, scorer)
        found.append(
            RewardFacts(
                name, kind_of(reward), uses.get(name, ()), weight_of(reward), rated, mean, deviation, without
            )
        )
    return tuple(found)


def reward_notes(database: Database, run: Run, config: PipelineConfig) -> Iterator[str]:
    """Sentences about what a reader should know."""
    if sentence := dependent_sentence(config):
        yield sentence
    names = {scorer: name for name, scorer in run.found.reward_scorers.items()}
    flat = {scale.part_id: scale for scale in scales_of(database, run.found.scorer) if scale.is_flat}
    for scorer, scale in flat.items():
        yield (
            f"The reward {names.get(scorer, scorer)!r} is {scale.mean:.4g} for all {scale.n:,} responses "
            "that it rates, so it tells none of them apart."
        )
    if config.rewards and run.found.training_scorer != run.found.scorer:
        yield (
            "Pairs are filtered by one reward, and admitted and weighed by another: the histograms show the "
            "first, the examples the second."
        )


def dependent_sentence(config: PipelineConfig) -> str | None:
    """Says that the models are judged by a reward that chose their pairs; None if they are not."""
    line = dependent_judge(config)
    return None if line is None else f"{line[0].upper()}{line[1:]}"


def _uses(config: PipelineConfig) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for role, name in roles_of(config)._asdict().items():
        try:
            parts = parts_of(config, name)
        except ConfigError:  # a stored run of another version
            continue
        for part in parts:
            found[part] = (*found.get(part, ()), _USES[role])
    return found


def kind_of(reward: OneReward) -> str:
    """Such as "program my_rewards:right"."""
    if isinstance(reward, ProgramRewardConfig):
        return f"program {reward.program}"
    if isinstance(reward, JudgeRewardConfig):
        return f"judge {reward.judge}, scores from 1 to {reward.highest_score}"
    return f"reward model {reward.model.name}"

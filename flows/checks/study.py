"""What must be right for `figa study reward`, besides what every run needs."""

import shutil
from collections.abc import Iterator

from figa_core.config import JudgeRewardConfig, PipelineConfig
from figa_core.config.roles import used_rewards
from figa_core.errors import ConfigError, EngineError
from figa_core.findings import problems_text
from figa_core.models.adapter import underlying
from figa_core.models.weight_files import read_weights
from figa_core.study.reward.degrade import TRAINED
from figa_core.study.reward.settings import RewardStudySettings
from flows.checks.room import bytes_in, size_text
from flows.checks.workspace import nearest_existing
from tasks.grading_settings import GradingSections


def check_reward_study(config: PipelineConfig, settings: RewardStudySettings) -> None:
    """Raises ConfigError with everything that a study cannot do without, or cannot do."""
    found = [*_problems(config, settings)]
    if found:
        raise ConfigError(problems_text(found))


def _problems(config: PipelineConfig, settings: RewardStudySettings) -> Iterator[str]:
    if config.evaluation.verifier is None:
        yield (
            "evaluation.verifier: none, so nothing but rewards could judge the models and the pairs. Set it "
            'to a function of your own ("module:function"; it rates a response from 0 to 1).'
        )
    if config.prompts.held_out_share == 0:
        yield (
            "prompts.held_out_share is 0: the study needs held-out prompts to judge the models. Set it to "
            "0.1 or more."
        )
    rewards = used_rewards(config).items()
    if judges := [name for name, each in rewards if isinstance(each, JudgeRewardConfig)]:
        yield (
            f"rewards: {', '.join(judges)} is an LLM judge, which would be asked for every answer of the "
            "study. Let a reward model or a program filter, admit and judge (filter.reward, "
            "admission.reward, evaluation.reward)."
        )
    if GradingSections.of(config) is not None:
        yield (
            f'weighting.scheme = "{config.weighting.scheme}": a grader would be asked for the pairs of every '
            'variant. Set it to "levenshtein" for the study.'
        )
    if config.training.learning_rate == "auto":
        yield (
            'training.learning_rate = "auto": each variant could get a rate of its own, and the difference '
            "would be that of the rates. Set the one that `figa run` chose."
        )
    if settings.pairs is None and config.generation.temperature == 0:
        yield (
            "generation.temperature is 0, so all answers to a prompt are the same, and there are no pairs to "
            "train reward models on. Give pairs of your own (--pairs), or sample."
        )
    if settings.start is not None and not settings.start.is_dir():
        yield f"--start: there is no directory {settings.start}. Give a Hugging Face model directory."
    elif text := _room(config, settings):
        yield text


def _room(config: PipelineConfig, settings: RewardStudySettings) -> str:
    """The reward models are kept in float32; those that are trained lie in the workspace already."""
    start, directory = settings.start or config.generation.model, config.workspace.path
    try:
        weights = read_weights(underlying(start))
    except (OSError, EngineError):  # the checks of every run report this, and the next
        return ""
    if weights.problems:
        return ""
    each = 4 * weights.parameters
    needed, free = len(TRAINED) * each, shutil.disk_usage(nearest_existing(directory)).free
    if needed <= free + bytes_in(directory / "studies"):
        return ""
    return (
        f"workspace.path: {directory} has {size_text(free)} left, and {len(TRAINED)} reward models of the "
        f"size of {start} need {size_text(needed)}. Free space, or start from a smaller decoder (--start)."
    )

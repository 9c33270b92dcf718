"""What must be right for `figa compare`, besides what every run needs."""

import shutil
from collections.abc import Iterator

from figa_core.config import PipelineConfig
from figa_core.config.roles import rl_problem
from figa_core.errors import ConfigError, EngineError
from figa_core.findings import problems_text
from figa_core.models.adapter import underlying
from figa_core.models.weight_files import read_weights
from figa_core.rl.methods import is_rl
from flows.checks.facts import Facts
from flows.checks.grader import check_grader, check_key, check_template
from flows.checks.room import bytes_in, size_text, trainings_bytes
from flows.checks.workspace import nearest_existing
from tasks.compare import methods_of, schemes_of, weighted_by
from tasks.reinforcement import methods_by_rewards


def check_comparison(config: PipelineConfig) -> None:
    """Raises ConfigError if there would be nothing to judge by, no room for the models on the disk, no grader
    that a method's scheme needs, or a reward that a method cannot learn from; or a curve over the steps would
    not be one.
    """
    texts = (
        _prompts(config), _room(config), *_graders(config), *_rewards(config), *_curves(config),
    )  # fmt: skip
    found = [text for text in texts if text]
    if found:
        raise ConfigError(problems_text(found))


def without_effect(config: PipelineConfig) -> str | None:
    """Which setting a comparison of methods does not use, though it looks as if it did; None without one."""
    if config.evaluation.judge.model is None:
        return None
    by = "reward" if config.evaluation.verifier is None else "verifier"
    return (
        f"evaluation.judge: {config.evaluation.judge.model} is not asked here: a comparison of methods is "
        f"judged by the {by}. `figa run` and `figa judge` ask it about the models that a run trains."
    )


def _prompts(config: PipelineConfig) -> str:
    if config.prompts.held_out_share > 0:
        return ""
    return (
        "prompts.held_out_share is 0: a comparison needs held-out prompts to choose learning rates and to "
        "judge the methods. Set it to 0.1 or more."
    )


def _room(config: PipelineConfig) -> str:
    directory = config.workspace.path
    models, free = models_at_once(config), shutil.disk_usage(nearest_existing(directory)).free
    try:
        weights = read_weights(underlying(config.generation.model))
    except (OSError, EngineError):  # the checks of every run report this, and the next
        return ""
    if weights.problems:
        return ""
    exported = sum(tensor.end - tensor.begin for tensor in weights.tensors.values())
    needed = models * exported + trainings_bytes(config)[0]
    if needed <= free + bytes_in(directory / "trainings"):
        return ""
    return (
        f"workspace.path: {directory} has {size_text(free)} left, and the comparison has up to {models:,} "
        f"models there at once, {size_text(needed)} with a checkpoint. Free space, choose a larger disk, or "
        "compare fewer methods, rates or seeds at once."
    )


def _graders(config: PipelineConfig) -> Iterator[str]:
    for scheme in schemes_of(config):
        facts = Facts(weighted_by(config, scheme))
        for check in (check_grader, check_key, check_template):
            try:
                yield from (str(finding) for finding in check(facts) if finding.is_problem)
            except ConfigError as error:
                yield str(error)


def _rewards(config: PipelineConfig) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    try:
        for method in methods_by_rewards(config):
            if problem := rl_problem(config, takes_any=method.takes_any_reward):
                found.setdefault(problem, []).append(method.name)
    except ConfigError:  # the checks of every run report this
        return
    for problem, names in found.items():
        yield f"compare.methods: {' and '.join(names)}: {problem}."


def _curves(config: PipelineConfig) -> Iterator[str]:
    if not config.compare.curve_steps:
        return
    for method in methods_of(config):
        schedule = method.training(config.training).schedule
        if not is_rl(method.objective) and (schedule.kind != "constant" or schedule.warmup_share):
            yield (
                f"compare.curve_steps: the learning rate of {method.name} depends on the number of its steps "
                "(training.schedule), so a shorter training is no part of it. Set a constant rate without a "
                "warm-up, or leave curve_steps out."
            )


def models_at_once(config: PipelineConfig) -> int:
    """The most models on the disk: of one method all, of the others those that are kept."""
    compare, methods = config.compare, methods_of(config)
    tried = [compare.trainings(len(method.learning_rates or compare.learning_rates)) for method in methods]
    cut_off = len(compare.curve_steps) * len(compare.seeds)
    if compare.keep_models == "all":
        return sum(each + cut_off for each in tried) * len(compare.pairs)
    return max(*tried, len(compare.seeds) if cut_off else 0) + len(methods) * len(compare.pairs) - 1

"""Settings that cannot work together, whatever the files contain."""

import sys
from collections import Counter
from collections.abc import Iterator

from figa_core.config import EvaluationConfig, FilterConfig, PipelineConfig, SpendingConfig
from figa_core.findings import Finding, problem, warning
from figa_core.training.bitsandbytes_adam import offloaded_to_disk
from figa_core.training.cpu_adam import not_offloaded
from figa_core.training.held_out import useless_setting
from figa_core.training.learning_rate import AUTO
from figa_core.training.objectives.base import Answer
from figa_core.training.objectives.registry import make_objective, objective_named
from figa_core.training.offload import impossible
from figa_core.training.quantized import not_quantizable
from flows.checks.facts import Facts

_TEMPERATURE_MAX = 2
_LEARNING_RATE_MAX = 0.1


def check_settings(facts: Facts) -> Iterator[Finding]:
    """Everything that can be checked from the config alone."""
    config = facts.config
    yield from _fields(config)
    yield from _sampling(config)
    yield from _thresholds(config.filter)
    yield from _objectives(config)
    yield from _training(config)
    yield from _lengths(config)
    yield from _spending(config)


def check_interpreter(_facts: object) -> Iterator[Finding]:
    """Python keeps docstrings, without which transformers cannot build a model."""
    if sys.flags.optimize > 1:
        yield problem(
            "",
            "Python runs without docstrings (PYTHONOPTIMIZE=2, or -OO), and transformers builds no model "
            "without them. Unset PYTHONOPTIMIZE.",
        )


def objectives(config: PipelineConfig) -> dict[str, str]:
    """Every objective to train, with the setting that names it."""
    asked = dict.fromkeys(config.evaluation.baselines, "evaluation.baselines")
    return {**asked, config.loss.objective: "loss.objective"}


def reading(config: PipelineConfig, answer: Answer) -> dict[str, str]:
    """The objectives that train on this kind of answer, with the settings that name them."""
    asked = objectives(config).items()
    return {name: setting for name, setting in asked if answer in objective_named(name).answers}


def _fields(config: PipelineConfig) -> Iterator[Finding]:
    prompts = config.prompts
    if prompts.prompt_field == prompts.reference_field:
        yield problem(
            "prompts.reference_field",
            f"{prompts.reference_field!r} is already prompts.prompt_field. Name the field with the "
            'references, or set it to "none".',
        )
    given = config.filter.model_dump(exclude_defaults=True)
    unused = sorted(given.keys() & {"reference_reward_above", "reward_gap_above"})
    if prompts.reference_field is None and unused:
        yield warning(
            "filter",
            'there are no references (prompts.reference_field is "none"), so these settings have no effect: '
            f"{', '.join(unused)}.",
        )


def _sampling(config: PipelineConfig) -> Iterator[Finding]:
    if (temperature := config.generation.temperature) > _TEMPERATURE_MAX:
        yield warning(
            "generation.temperature",
            f"at {temperature:g} a model samples nearly at random; 1 is its own distribution.",
        )
    samples = config.generation.samples_per_prompt
    if samples > 1 and config.generation.temperature == 0:
        yield problem(
            "generation.temperature",
            f"at 0 all {samples} samples of a prompt are the same (generation.samples_per_prompt). Raise the "
            "temperature, or set one sample.",
        )


def _thresholds(thresholds: FilterConfig) -> Iterator[Finding]:
    if _quantile(thresholds.response_reward_below) == 0:
        yield problem(
            "filter",
            'none of the responses can have a reward below "q0" (response_reward_below), the lowest of all. '
            "Raise it.",
        )
    for name in ("reference_reward_above", "reward_gap_above"):
        if _quantile(getattr(thresholds, name)) == 1:
            yield warning(
                "filter",
                f'none of the prompts with a reference can be above "q1" ({name}), the highest of all.',
            )


def _quantile(threshold: float | str) -> float | None:
    return float(threshold.removeprefix("q")) if isinstance(threshold, str) else None


def _objectives(config: PipelineConfig) -> Iterator[Finding]:
    loss = config.loss
    yield from _baselines(config.evaluation, loss.objective)
    if config.prompts.reference_field is None:
        for name, setting in reading(config, "reference").items():
            yield problem(
                setting,
                f'{name} trains on references, but prompts.reference_field is "none". Name the field that '
                "holds them, or train on the revisions (sft_revised).",
            )
    if config.generation.samples_per_prompt == 1:
        for name, setting in reading(config, "best").items():
            yield problem(
                setting,
                f"{name} trains on the best of several samples of a prompt, but "
                "generation.samples_per_prompt is 1. Raise it, or choose another objective.",
            )
    losses = (loss.model_copy(update={"objective": name}) for name in objectives(config))
    if any(make_objective(each).weighs_nothing for each in losses):
        yield problem("loss", "alpha, beta and gamma are all 0: no token would count. Raise one of them.")
    if loss.gamma_fade_tokens is not None and loss.gamma == 0:
        yield problem("loss.gamma_fade_tokens", 'gamma is 0, so nothing fades. Raise gamma, or say "none".')


def _training(config: PipelineConfig) -> Iterator[Finding]:
    lora = config.training.lora
    if lora.rank is None and (given := sorted(lora.model_dump(exclude_defaults=True))):
        yield problem(
            "training.lora",
            f'rank is "none", so all weights are trained, and {", ".join(given)} has no effect. Set '
            "rank, such as to 16, or leave the others out.",
        )
    training = config.training
    if training.learning_rate != AUTO and float(training.learning_rate) > _LEARNING_RATE_MAX:
        yield problem(
            "training.learning_rate",
            f"{training.learning_rate:g} would destroy any model in a few steps. Values from 1e-6 to "
            "1e-3 are usual.",
        )
    given = sorted(training.rendezvous.model_dump(exclude_defaults=True))
    if training.nodes == 1 and given:
        yield warning(
            "training.rendezvous", f"training.nodes is 1, so {', '.join(given)} has no effect: nobody is met."
        )
    for text in (
        useless_setting(training.held_out),
        impossible(training),
        not_offloaded(training),
        offloaded_to_disk(training),
        not_quantizable(training),
    ):
        if text:
            setting, _, message = text.partition(": ")
            yield problem(setting, message)


def _baselines(evaluation: EvaluationConfig, main: str) -> Iterator[Finding]:
    for objective, count in Counter(evaluation.baselines).items():
        if objective == main:
            yield problem("evaluation.baselines", f"{objective} is already the main objective. Remove it.")
        elif count > 1:
            yield problem("evaluation.baselines", f"{objective} is listed {count} times. List it once.")


def _lengths(config: PipelineConfig) -> Iterator[Finding]:
    longest, passes = config.weighting.max_length, config.training.tokens_per_batch
    if longest > passes:
        yield problem(
            "",
            f"weighting.max_length is {longest} tokens, but a forward pass takes training.tokens_per_batch = "
            f"{passes}. Raise the second, or lower the first.",
        )
    else:
        yield from _together(config)
    if config.generation.max_tokens >= longest:
        yield warning(
            "weighting.max_length",
            f"{longest} tokens of prompt and response are trained on, but a response alone may have "
            f"generation.max_tokens = {config.generation.max_tokens}: the rest is cut off.",
        )
    if config.revision.max_tokens < config.generation.max_tokens:
        yield warning(
            "revision.max_tokens",
            f"{config.revision.max_tokens} tokens are fewer than a response may have "
            f"(generation.max_tokens = {config.generation.max_tokens}): long revisions will be cut off and "
            "rejected.",
        )


def _together(config: PipelineConfig) -> Iterator[Finding]:
    """Objectives that need several answers of a pair in one forward pass."""
    longest, passes = config.weighting.max_length, config.training.tokens_per_batch
    for name, setting in objectives(config).items():
        together = objective_named(name).tokens_at_once(longest)
        if together > passes:
            yield problem(
                setting,
                f"{name} takes several answers of a pair into one forward pass, up to {together} tokens with "
                f"weighting.max_length = {longest}, but training.tokens_per_batch is {passes}. Raise it, or "
                "lower weighting.max_length.",
            )


def price_problem(spending: SpendingConfig, model: str) -> Iterator[Finding]:
    """A budget without the price of a model that is called."""
    if spending.budget_usd is not None and model not in spending.prices:
        yield problem(
            "",
            f"spending.budget_usd needs the price of {model!r}: add "
            f'[spending.prices."{model}"] with usd_per_million_prompt_tokens and '
            "usd_per_million_completion_tokens",
        )


def _spending(config: PipelineConfig) -> Iterator[Finding]:
    spending = config.spending
    yield from price_problem(spending, config.revision.model)
    if spending.budget_usd is not None and "max_tokens" in config.revision_prompt.leave_out:
        yield problem(
            "revision_prompt.leave_out",
            "without max_tokens an answer may have any length, and spending.budget_usd cannot be guaranteed. "
            'Remove max_tokens from the list, or set the budget to "none".',
        )

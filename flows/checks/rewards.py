"""The rewards: which is used for what, programs tried on rows, and judges with what they need to be asked."""

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from figa_core.config import JudgeRewardConfig, PipelineConfig, ProgramRewardConfig
from figa_core.config.rewards import COMBINED
from figa_core.config.roles import (
    OneReward,
    dependent_judge,
    fields_of,
    parts_of,
    rewards_by_name,
    roles_of,
    used_rewards,
    weight_of,
)
from figa_core.errors import ConfigError, EngineError
from figa_core.findings import Finding, problem, warning
from figa_core.ports import RewardRequest, RowFailure
from figa_core.records import Prompt
from figa_core.rewards.program import Program
from figa_core.rewards.program_worker import CANNOT_SAY
from flows.checks.facts import Facts
from flows.checks.settings import price_problem
from tasks.judge_settings import JudgeSections, judge_key, judge_settings
from tasks.score_by_program import CONTRACT, program_settings

_ROWS_TRIED = 3
_TEXT = "A text in place of a response."


def check_roles(facts: Facts) -> Iterator[Finding]:
    """The settings name rewards that there are, and a judge that had no part in the training is said."""
    config, roles, known = facts.config, roles_of(facts.config), rewards_by_name(facts.config)
    for section, name in zip(("filter", "admission", "evaluation"), roles, strict=True):
        if getattr(config, section).reward is not None:
            try:
                parts_of(config, name)
            except ConfigError as error:
                yield problem(f"{section}.reward", str(error))
    if all(name in (*known, COMBINED) for name in roles):
        yield from _weights(config)
        yield from _unused(config)
        yield from _thresholds(facts)
        yield from _judge_of_the_end(config)


def check_programs(facts: Facts) -> Iterator[Finding]:
    """Each program can be imported, and gives a value for some row."""
    for name, reward in used_rewards(facts.config).items():
        if isinstance(reward, ProgramRewardConfig):
            facts.say(f"trying the reward program {reward.program} on a few rows")
            yield from _program(facts, name, reward)


def check_judges(facts: Facts) -> Iterator[Finding]:
    """Each judge has a template that can be filled in, a key, and a price if there is a budget."""
    config = facts.config
    for name, reward in used_rewards(config).items():
        if isinstance(reward, JudgeRewardConfig):
            sections = JudgeSections.of(config, reward)
            yield from price_problem(config.spending, reward.judge)
            try:
                judge_settings(sections)
                if facts.needs_key:
                    judge_key(sections)
            except ConfigError as error:
                yield problem(f"rewards ({name})", str(error))


def check_fields(facts: Facts) -> Iterator[Finding]:
    """Some row has each field that rewards ask for."""
    found, config = facts.prompts, facts.config
    which = "no row" if found.whole else f"none of the first {found.rows:,} rows"
    for field in fields_of(config) if found.usable else ():
        if not any(prompt.values.get(field) is not None for prompt in found.all_prompts):
            yield problem("rewards", f"{which} has the field {field!r}, which one of them asks for (fields).")
    for reward in rewards_by_name(config).values():
        asked = getattr(reward, "fields", ())
        if "reference" in asked and found.usable and not any(p.reference for p in found.all_prompts):
            yield warning("rewards", f"{which} has a reference, for which one of them asks (fields).")
        if "type" in asked and config.prompts.type_field is None:
            yield warning("rewards", "prompts.type_field is not set, so no row has the type in fields.")


def _weights(config: PipelineConfig) -> Iterator[Finding]:
    if COMBINED not in roles_of(config):
        return
    parts = parts_of(config, COMBINED)
    if len(parts) == 1 and min(map(weight_of, parts.values())) < 0:
        yield problem(
            "rewards",
            "the only one with a weight has one below 0, which has no effect on it. Set it above 0.",
        )


def _unused(config: PipelineConfig) -> Iterator[Finding]:
    used = used_rewards(config)
    for name in rewards_by_name(config):
        if name not in used:
            text = f"{name!r} is used for nothing: it has no weight, and no stage names it."
            yield warning("rewards", text)


def _thresholds(facts: Facts) -> Iterator[Finding]:
    """The defaults are for raw rewards, and a combined reward is in standard deviations."""
    config = facts.config
    parts = tuple(parts_of(config, roles_of(config).filter).values())
    if len(parts) == 1:
        yield from _out_of_reach(config, parts[0])
        return
    if config.prompts.reference_field is None:
        return
    if not config.filter.model_fields_set & {"reference_reward_above", "reward_gap_above"}:
        yield problem(
            "filter",
            "the rewards are combined, so thresholds are in standard deviations of the run's responses, and "
            "the defaults (a reference above 3, and 3.5 above its response) are not meant for that. Set "
            'reference_reward_above and reward_gap_above, such as to the quantile "q0.3".',
        )


def _out_of_reach(config: PipelineConfig, reward: OneReward) -> Iterator[Finding]:
    """A judge alone gives scores from 1, and the default is that a response must be below 1."""
    below = config.filter.response_reward_below
    if isinstance(reward, JudgeRewardConfig) and not isinstance(below, str) and below <= 1:
        yield problem(
            "filter.response_reward_below",
            f"the scores of the judge {reward.name!r} are from 1 to {reward.highest_score}, so no response "
            f'is below {below:g}. Set a score, or a quantile such as "q0.7".',
        )


def _judge_of_the_end(config: PipelineConfig) -> Iterator[Finding]:
    """A judge that had a part in the training is not independent; for a list of rewards that is said."""
    if (line := dependent_judge(config)) and config.rewards and config.evaluation.reward is None:
        yield warning("evaluation", f"{line} Name another reward, or a verifier.")


def _program(facts: Facts, name: str, reward: ProgramRewardConfig) -> Iterator[Finding]:
    where = f"rewards ({name}).program"
    rows = list(islice(facts.prompts.all_prompts, _ROWS_TRIED))
    with tempfile.TemporaryDirectory(prefix="figa-reward-") as directory:
        log = Path(directory) / "log"
        try:
            with Program(program_settings(reward), log) as program:
                tried = [one for batch in program.score(map(_request, rows)) for one in batch]
        except EngineError as error:
            yield problem(where, str(error))
            return
    faults = [one.reason for one in tried if isinstance(one, RowFailure)]
    if not faults:
        return
    text = f"{reward.program!r}: tried on {len(tried)} of the prompts, {faults[0]}"
    if len(faults) < len(tried) or set(faults) == {CANNOT_SAY}:
        yield warning(where, f"{text}. Rows without a value are left out.")
    else:
        yield problem(where, f"{text}. {CONTRACT}")


def _request(prompt: Prompt) -> RewardRequest:
    return RewardRequest(prompt.prompt_id, prompt.messages, prompt.reference or _TEXT, prompt.values)

"""The part of `figa plan` about judges among the rewards: at most one call for each answer that they rate."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from figa_core.config import JudgeRewardConfig, PipelineConfig
from figa_core.config.roles import parts_of, roles_of, used_rewards
from figa_core.judging.prompt import ANSWER_TOKENS
from figa_core.llm.limiter import estimate_tokens
from figa_core.ports import ComparisonRequest, RewardRequest
from figa_core.records import Prompt, Split
from flows.plan_calls import token_and_cost_lines
from flows.terminal.durations import duration
from tasks.judge_settings import JudgeSections, judge_settings, pairwise_settings
from tasks.prefer import is_judged, judge_sections
from tasks.revision_settings import price_of


@dataclass(frozen=True, slots=True)
class JudgingPlan:
    """An upper bound of the calls to one judge; tokens and US dollars are estimates.

    `name` is None for the judge that compares the models' answers.
    """

    name: str | None
    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    minutes: float


def plan_judging(
    config: PipelineConfig, prompts: Callable[[], Iterable[Prompt]], answer: str
) -> list[JudgingPlan]:
    """Count the calls if every answer is as long as `answer`; `prompts` are read once for each judge.

    The last of them is the judge that compares the models' answers, if there is one.

    Answers that have been judged already count, too.

    Raises:
        ConfigError: a template cannot be used.
    """
    plans = [
        _plan(config, name, reward, prompts(), answer)
        for name, reward in used_rewards(config).items()
        if isinstance(reward, JudgeRewardConfig)
    ]
    return [*plans, _plan_comparisons(config, prompts(), answer)] if is_judged(config) else plans


def judging_lines(plan: JudgingPlan) -> Iterator[str]:
    """The plan as lines for people."""
    if plan.name is None:
        yield (
            f"at most {plan.calls:,} calls to the judge of evaluation.judge ({plan.model}), two for each "
            "held-out answer of a trained model"
        )
    else:
        yield f"at most {plan.calls:,} calls to the judge {plan.name!r} ({plan.model}), one for each answer"
    yield from token_and_cost_lines(plan)
    yield f"at most {duration(plan.minutes)} at the configured limits of its endpoint"


def _plan(
    config: PipelineConfig, name: str, judge: JudgeRewardConfig, prompts: Iterable[Prompt], answer: str
) -> JudgingPlan:
    sections = JudgeSections.of(config, judge)
    settings = judge_settings(sections)
    per_prompt = _answers(config, name)
    judged, calls, prompt_tokens = 0, 0, 0
    for prompt in prompts:
        answers = per_prompt[prompt.split]
        if prompt.split is Split.HELD_OUT:
            answers = answers if judged < config.evaluation.max_prompts else 0
            judged += 1
        elif prompt.reference is not None and per_prompt["reference"]:
            answers += 1
        fields = {field: prompt.values.get(field) for field in judge.fields}
        request = RewardRequest(prompt.prompt_id, prompt.messages, answer, fields)
        sent = [message["content"] for message in settings.render(request)] if answers else []
        calls += answers
        prompt_tokens += answers * estimate_tokens(sent, 0, 0)
    return _sum(sections, name, calls, prompt_tokens)


def _plan_comparisons(config: PipelineConfig, prompts: Iterable[Prompt], answer: str) -> JudgingPlan:
    sections = judge_sections(config)
    settings, calls, prompt_tokens = pairwise_settings(sections), 0, 0
    held_out = (prompt for prompt in prompts if prompt.split is Split.HELD_OUT)
    per_prompt = 2 * (1 + len(config.evaluation.baselines))
    for prompt in islice(held_out, config.evaluation.max_prompts):
        sent = settings.render(ComparisonRequest(prompt.prompt_id, prompt.messages, answer, answer))
        calls += per_prompt
        prompt_tokens += per_prompt * estimate_tokens([message["content"] for message in sent], 0, 0)
    return _sum(sections, None, calls, prompt_tokens)


def _sum(sections: JudgeSections, name: str | None, calls: int, prompt_tokens: int) -> JudgingPlan:
    judge, price = sections.judge, price_of(sections.spending, sections.model)
    completion_tokens = calls * min(judge.max_tokens, ANSWER_TOKENS)
    tokens, endpoint = prompt_tokens + completion_tokens, judge.endpoint
    return JudgingPlan(
        name,
        sections.model,
        calls,
        prompt_tokens,
        completion_tokens,
        None if price is None else price.cost(prompt_tokens, completion_tokens),
        max(calls / endpoint.requests_per_minute, tokens / endpoint.tokens_per_minute),
    )


def _answers(config: PipelineConfig, name: str) -> dict[str, int]:
    """How many answers this reward rates: of each training prompt, its reference and each held-out prompt."""
    parts = [parts_of(config, role) for role in roles_of(config)]
    filters, trains, judges = (name in each for each in parts)
    is_combined = any(name in each and len(each) > 1 for each in parts)  # over the responses for its scale
    samples = config.generation.samples_per_prompt
    revised = samples if config.filter.samples_kept == "all" else 1
    rates_all = filters or is_combined or (trains and samples > 1)
    responses = samples if rates_all else revised if trains else 0
    models = 2 + len(config.evaluation.baselines)
    return {
        Split.TRAIN: responses + (revised if trains else 0),
        "reference": int(filters),
        Split.HELD_OUT: models if judges else 0,
    }

"""The part of `figa plan` about grading: at most one call for each pair, as if every word were changed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from figa_core.grading.prompt import expected_tokens
from figa_core.llm.limiter import estimate_tokens
from figa_core.ports import GradeRequest
from figa_core.weighting.words import words_of
from flows.plan_calls import token_and_cost_lines
from flows.terminal.durations import duration
from tasks.grading_settings import GradingSections, grader_settings
from tasks.revision_settings import price_of


@dataclass(frozen=True, slots=True)
class GradingPlan:
    """An upper bound of the calls to the grader `model`; tokens and US dollars are estimates."""

    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    minutes: float


def plan_grading(sections: GradingSections, requests: Iterable[GradeRequest]) -> GradingPlan:
    """Count the calls for these requests, whose words are unknown; raises ConfigError without a model."""
    settings, grader = grader_settings(sections), sections.grader
    price = price_of(sections.spending, settings.model)
    calls = prompt_tokens = completion_tokens = 0
    for request in requests:
        words = tuple(words_of(request.revision))
        sent = settings.render(replace(request, words=words))
        calls += 1
        prompt_tokens += estimate_tokens([message["content"] for message in sent], 0, 0)
        completion_tokens += min(grader.max_tokens, expected_tokens(sections.scheme, len(words)))
    tokens = prompt_tokens + completion_tokens
    return GradingPlan(
        settings.model,
        calls,
        prompt_tokens,
        completion_tokens,
        None if price is None else price.cost(prompt_tokens, completion_tokens),
        max(calls / grader.requests_per_minute, tokens / grader.tokens_per_minute),
    )


def grading_lines(plan: GradingPlan) -> Iterator[str]:
    """The plan as lines for people."""
    yield f"at most {plan.calls:,} calls to the grader {plan.model}, one for each pair that is admitted"
    yield from token_and_cost_lines(plan, "estimated, as if every word of a revision were changed")
    yield f"at most {duration(plan.minutes)} at the configured limits of [grader]"

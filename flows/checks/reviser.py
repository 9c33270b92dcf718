"""The reviser: its key, its instructions, and whether limits and budget allow a single call."""

from collections.abc import Iterator

from figa_core.config import SpendingConfig
from figa_core.findings import Finding, problem, warning
from figa_core.llm.limiter import estimate_tokens
from figa_core.revision.prompt import expected_tokens
from flows.checks.facts import Facts
from flows.terminal.durations import duration
from tasks.revision_settings import api_key, price_of

_ROWS_RENDERED = 100
_WEEK_MINUTES = 7 * 24 * 60


def check_key(facts: Facts) -> Iterator[Finding]:
    """The key exists and can be sent, if the run will call the reviser; raises ConfigError."""
    if facts.needs_key:
        api_key(facts.config.revision)
    yield from ()


def check_templates(facts: Facts) -> Iterator[Finding]:
    """The prompt templates can be filled in; raises ConfigError."""
    _ = facts.templates
    yield from ()


def check_room(facts: Facts) -> Iterator[Finding]:
    """The smallest call fits into the limits of a minute and the budget."""
    revision, calls = facts.config.revision, _smallest_calls(facts)
    if not calls:
        return
    answer = expected_tokens("")
    tokens = min(estimate_tokens(texts, answer, revision.max_tokens) for texts in calls)
    if tokens > revision.tokens_per_minute:
        yield problem(
            "revision.tokens_per_minute",
            f"{revision.tokens_per_minute:g} is less than the smallest call needs (about {tokens:,} tokens). "
            "Set it to the provider's limit.",
        )
    yield from _budget(facts.config.spending, revision.model, revision.max_tokens, calls)
    prompts = len(facts.prompts.train_prompts)
    minutes = prompts / revision.requests_per_minute
    if minutes > _WEEK_MINUTES:
        yield warning(
            "revision.requests_per_minute",
            f"at {revision.requests_per_minute:g}, {prompts:,} calls take {duration(minutes)}.",
        )


def _budget(
    spending: SpendingConfig, model: str, max_tokens: int, calls: list[tuple[str, ...]]
) -> Iterator[Finding]:
    price = price_of(spending, model)
    if price is None or spending.budget_usd is None:
        return
    least = min(price.most(texts, max_tokens) for texts in calls)
    if least > spending.budget_usd:
        yield problem(
            "spending.budget_usd",
            f"${spending.budget_usd:g} is less than must be reserved for the smallest call (${least:.2g}, "
            f"because its answer may have revision.max_tokens = {max_tokens:,} tokens). Raise the budget, or "
            "lower revision.max_tokens.",
        )


def _smallest_calls(facts: Facts) -> list[tuple[str, ...]]:
    """The texts of some calls, each with an empty draft."""
    sent = [
        facts.templates.render(prompt.messages, "", prompt.reference)
        for prompt in facts.prompts.train_prompts[:_ROWS_RENDERED]
    ]
    return [tuple(message["content"] for message in messages) for messages in sent]

"""Lines of `figa plan` about calls to an LLM besides the reviser."""

from collections.abc import Iterator
from typing import Protocol


class Bound(Protocol):
    """An upper bound of the calls to a model; tokens and US dollars are estimates."""

    @property
    def model(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def usd(self) -> float | None: ...


def token_and_cost_lines(plan: Bound, how: str = "estimated") -> Iterator[str]:
    """What the calls cost at most; `how` says where the numbers of tokens come from."""
    tokens = plan.prompt_tokens + plan.completion_tokens
    yield (
        f"at most {tokens:,} tokens: {plan.prompt_tokens:,} of prompts, {plan.completion_tokens:,} of "
        f"answers ({how})"
    )
    if plan.usd is None:
        yield f'no price known: add [spending.prices."{plan.model}"] to see the cost'
    else:
        yield f"at most about ${plan.usd:,.2f}, from the same budget"

"""The cost of a call in US dollars, and a hard cap on the cost of all calls.

Before a call is sent, the most it can cost is reserved; its answer corrects that. A call that does not fit
waits for those under way; with none under way, the budget is reached. So with exact `usage` the cap is never
exceeded. A call whose answer never arrives keeps its reservation.
"""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass

from figa_core.errors import BudgetReachedError
from figa_core.llm.calls import CallOutcome
from figa_core.llm.reply import Reply

_MARKUP_TOKENS_PER_MESSAGE = 16
_MARKUP_TOKENS = 256  # including the schema of a structured answer
_ROUNDING_USD = 1e-9  # of sums of many prices
_NEVER_BILLED = {
    CallOutcome.RATE_LIMITED,
    CallOutcome.CONNECTION_FAILED,
    CallOutcome.SERVER_ERROR,
    CallOutcome.BAD_KEY,
    CallOutcome.NO_QUOTA,
    CallOutcome.NO_ACCESS,
    CallOutcome.UNKNOWN_MODEL,
    CallOutcome.WRONG_ADDRESS,
    CallOutcome.UNSUPPORTED_SETTING,
    CallOutcome.BAD_REQUEST,
    CallOutcome.CONTEXT_TOO_LONG,
}


def billed_tokens(reply: Reply) -> tuple[int, int] | None:
    """Prompt and completion tokens that a call is billed for; None if its reply does not state them."""
    if reply.prompt_tokens is not None and reply.completion_tokens is not None:
        return reply.prompt_tokens, reply.completion_tokens
    return (0, 0) if reply.outcome in _NEVER_BILLED else None


@dataclass(frozen=True, slots=True)
class Price:
    """A model's price in US dollars per million tokens."""

    usd_per_million_prompt_tokens: float
    usd_per_million_completion_tokens: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for so many tokens."""
        prompt = prompt_tokens * self.usd_per_million_prompt_tokens
        return (prompt + completion_tokens * self.usd_per_million_completion_tokens) * 1e-6

    def most(self, texts: Iterable[str], max_tokens: int) -> float:
        """The most a call can cost: no tokenizer makes more tokens than a text has bytes."""
        prompt = sum(len(text.encode()) + _MARKUP_TOKENS_PER_MESSAGE for text in texts) + _MARKUP_TOKENS
        return self.cost(prompt, max_tokens)

    def of(self, reply: Reply) -> float | None:
        """What a call cost; None if its reply does not state its tokens."""
        tokens = billed_tokens(reply)
        return None if tokens is None else self.cost(*tokens)


class Budget:
    """The cap for all calls of one event loop; None never refuses. `spent_usd` was spent before.

    Flow runs on one workspace cannot exceed it together: only one at a time holds the workspace.
    """

    def __init__(self, cap_usd: float | None, spent_usd: float = 0.0) -> None:
        self.capped = cap_usd is not None
        self.spent_usd = spent_usd  # without reservations
        self._cap = math.inf if cap_usd is None else cap_usd
        self._reserved = 0.0
        self._open = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def reserve(self, usd: float) -> None:
        """Reserve an amount; in order of arrival, so that expensive calls are not overtaken forever.

        Raises:
            BudgetReachedError: it does not fit, and no call is under way that could make room.
        """
        async with self._turn:
            while self.spent_usd + self._reserved + usd > self._cap + _ROUNDING_USD:
                if not self._open:
                    raise BudgetReachedError(
                        f"the budget of ${self._cap:,.2f} is reached: ${self.spent_usd:,.4f} are spent, and "
                        f"the next call may cost ${usd:,.4f}. Raise spending.budget_usd and run again: the "
                        "rows not asked for stay pending."
                    )
                self._changed.clear()
                await self._changed.wait()
            self._reserved += usd
            self._open += 1

    def settle(self, reserved_usd: float, cost_usd: float | None) -> None:
        """Replace a reservation by what the call cost; None counts the reservation as spent."""
        self._open -= 1
        # With nothing under way the sum is 0, whatever rounding has left.
        self._reserved = self._reserved - reserved_usd if self._open else 0.0
        self.spent_usd += reserved_usd if cost_usd is None else cost_usd
        self._changed.set()

"""An LLM that is asked in batches: its client, open for one stage of a run, and the batches' order.

A task run is a batch of rows. The batches share one client, so that the rate limits and the budget apply to
all of them together, and a batch begins while the last rows of the previous one are still under way.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Generic, TypeVar

from figa_core.errors import BudgetReachedError, LLMError, OpenRevisionsError
from figa_core.llm.asker import Asker
from figa_core.llm.budget import Budget
from figa_core.llm.journal import AnswerJournal
from figa_core.llm.settings import AskerSettings
from figa_core.llm.transport import Transport
from figa_core.ports import ProgressCallback
from figa_core.storage import revisions
from figa_core.storage.intake import take_in
from figa_core.storage.revisions import Batch
from tasks.shared_limits import shared_permits
from tasks.workspace import Workspace

_BATCHES_AT_ONCE = 2

C = TypeVar("C")


class OpenClient(Generic[C]):
    """What asks an LLM for the rows of one run, shared by its batches.

    Not a dataclass: Prefect would search its fields for results of other tasks.
    """

    def __init__(self, workspace: Workspace, run_id: str, client: C, on_row: Callable[[], None]) -> None:
        self.workspace, self.run_id, self.client, self.on_row = workspace, run_id, client, on_row
        self.budget_reached: BudgetReachedError | None = None
        self._storing = asyncio.Lock()

    async def store_answers(self) -> None:
        """Store the journal's new answers, in a thread: more answers keep arriving meanwhile."""
        async with self._storing:
            await asyncio.to_thread(take_in, self.workspace.database, self.workspace.journal)

    async def take(self, values: AsyncIterator[object]) -> None:
        """Take the final values of a batch, and store them; raises LLMError as `Asker.ask` does.

        The end of the budget is remembered, not raised.
        """
        try:
            async for _ in values:
                self.on_row()  # the answer is in the journal and will be stored from there
        except BudgetReachedError as error:
            self.budget_reached = error
        finally:
            await self.store_answers()


async def ask_in_batches(
    workspace: Workspace,
    run_id: str,
    connect: Callable[[], Transport],
    settings: AskerSettings,
    make: Callable[[Asker], C],
    *,
    budget_usd: float | None,
    shared_limit: str | None,
    batches: Sequence[Batch],
    run_batch: Callable[[OpenClient[C], Batch], Awaitable[object]],
    on_progress: ProgressCallback,
    on_note: Callable[[str], None],
) -> LLMError | None:
    """Run the batches with one client, which `make` makes of an asker; opens nothing if there are none.

    `connect` makes the transport, which the asker closes. At the end, the calls under way are awaited and
    stored.

    Returns:
        What ended it before the last row, if anything: the budget, or the endpoint's refusal.
    """
    if not batches:
        return None
    done, asked = 0, sum(batch.rows for batch in batches)

    def on_row() -> None:
        nonlocal done
        done += 1
        on_progress(done, asked)

    budget = Budget(budget_usd, revisions.spent(workspace.database, run_id).usd or 0.0)
    try:
        async with (
            shared_permits(shared_limit) if shared_limit else nullcontext() as permits,
            AnswerJournal(workspace.journal) as journal,
            Asker(
                connect(), settings, journal=journal, budget=budget, permits=permits, on_note=on_note
            ) as asker,
        ):
            opened = OpenClient(workspace, run_id, make(asker), on_row)
            try:
                await _run_batches(opened, batches, run_batch)
            finally:
                await asker.aclose()
                await opened.store_answers()
            return opened.budget_reached
    except LLMError as error:
        return error


async def _run_batches(
    opened: OpenClient[C],
    batches: Sequence[Batch],
    run_batch: Callable[[OpenClient[C], Batch], Awaitable[object]],
) -> None:
    """Run the batches in order, two at a time; the first one that ends the whole run ends the others.

    Rows that remain open end only their batch. When the budget is spent, no further batch begins.
    """
    waiting = iter(batches)

    async def work() -> None:
        for batch in waiting:
            if opened.budget_reached is not None:
                return
            try:
                await run_batch(opened, batch)
            except OpenRevisionsError:
                continue

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_BATCHES_AT_ONCE, len(batches))):
                group.create_task(work())
    except* Exception as errors:
        raise errors.exceptions[0] from None

"""Stage revise: kept pairs without a settled revision → revisions and calls, through the journal.

A task run is a batch of rows. The batches share one reviser, so that the rate limits and the budget apply to
all of them together, and a batch begins while the last rows of the previous one are still under way.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.errors import BudgetReachedError, LLMError, OpenRevisionsError
from figa_core.llm.asker import Asker
from figa_core.llm.budget import Budget
from figa_core.llm.journal import AnswerJournal
from figa_core.ports import ProgressCallback
from figa_core.records import RevisionStatus
from figa_core.revision.reviser import LLMReviser
from figa_core.storage import revisions
from figa_core.storage.intake import Intake, take_in
from figa_core.storage.revisions import Batch
from tasks.results import StageCounts, no_progress
from tasks.revised import ROUNDING, Revised, cause_lines, open_rows_text
from tasks.revision_settings import RevisionSections, asker_settings, endpoint, reviser_settings
from tasks.shared_limits import shared_permits
from tasks.stored_answers import use_stored_answers
from tasks.workspace import Workspace

_BATCHES_AT_ONCE = 2


class OpenReviser:
    """The reviser of one run, shared by its batches.

    Not a dataclass: Prefect would search its fields for results of other tasks.
    """

    def __init__(
        self, workspace: Workspace, run_id: str, client: LLMReviser, on_row: Callable[[], None]
    ) -> None:
        self.workspace, self.run_id, self.client, self.on_row = workspace, run_id, client, on_row
        self.budget_reached: BudgetReachedError | None = None
        self._storing = asyncio.Lock()

    async def store_answers(self) -> None:
        """Store the journal's new answers, in a thread: more answers keep arriving meanwhile."""
        async with self._storing:
            await asyncio.to_thread(take_in, self.workspace.database, self.workspace.journal)


BatchRunner = Callable[[OpenReviser, Batch], Awaitable[object]]


@task(name="read-journal", cache_policy=NO_CACHE)
def read_journal(workspace: Workspace) -> Intake:
    """Store the paid answers that an earlier run could not store, or that a lost database held."""
    return take_in(workspace.database, workspace.journal, again=True)


@task(name="revise-batch", task_run_name="revise batch {batch.number}", cache_policy=NO_CACHE)
async def revise_batch(reviser: OpenReviser, batch: Batch) -> int:
    """Ask for the batch's open rows; returns how many this settled.

    Raises:
        OpenRevisionsError: rows of the batch remain without an answer.
        LLMError: the endpoint refuses the whole run; what was answered is stored.
    """
    database = reviser.workspace.database
    rows = await asyncio.to_thread(revisions.requests, database, reviser.run_id, batch)
    try:
        async for _ in reviser.client.revise(rows):
            reviser.on_row()  # the answer is in the journal and will be stored from there
    except BudgetReachedError as error:
        reviser.budget_reached = error
    finally:
        await reviser.store_answers()
    kinds = await asyncio.to_thread(revisions.open_by_kind, database, reviser.run_id, batch)
    if kinds:
        raise OpenRevisionsError(f"{open_rows_text(kinds)} of {len(rows):,} in batch {batch.number}.")
    return len(rows)


async def revise(
    workspace: Workspace,
    run_id: str,
    sections: RevisionSections,
    *,
    run_batch: BatchRunner = revise_batch.fn,
    on_progress: ProgressCallback = no_progress,
    on_note: Callable[[str], None] = lambda _: None,
) -> Revised:
    """Ask for every open row of this run once; makes no call if there is none.

    `run_batch` runs one batch: `revise_batch` as a function or as a task. Rows that remain open end only
    their batch. When the budget is spent, no further batch begins. `on_note` gets notes about what the
    endpoint does not accept. If the endpoint refuses all further calls, the stage ends; the run may still
    tolerate the open rows (`failed_share_max`).

    Raises:
        LLMError: the endpoint refuses more rows than are tolerated; what was answered is stored.
    """
    database = workspace.database
    if known := await use_stored_answers(workspace, run_id, sections.prompt):
        on_note(
            f"{known:,} rows need no call: answers from runs with other limits, judged by this run's limits"
        )
    batches = revisions.batches(database, run_id, sections.batches.rows)
    stopped_by: LLMError | None = None
    if batches:
        try:
            async with _open(workspace, run_id, sections, batches, on_progress, on_note) as reviser:
                await _run_batches(reviser, batches, run_batch)
                stopped_by = reviser.budget_reached
        except LLMError as error:
            stopped_by = error
    revised = _summary(workspace, run_id, stopped_by)
    tolerated = sections.batches.failed_share_max * revised.counts.n_in
    if (
        stopped_by is None
        or isinstance(stopped_by, BudgetReachedError)
        or revised.open_rows <= tolerated + ROUNDING
    ):
        return revised
    raise type(stopped_by)(f"{stopped_by}{cause_lines(revised.open_causes)}") from stopped_by


def _summary(workspace: Workspace, run_id: str, stopped_by: LLMError | None) -> Revised:
    database = workspace.database
    statuses = revisions.statuses(database, run_id)
    succeeded = statuses.pop(str(RevisionStatus.SUCCEEDED), 0)
    return Revised(
        StageCounts(succeeded + sum(statuses.values()), succeeded, statuses),
        revisions.open_by_kind(database, run_id),
        stopped_by,
        revisions.open_causes(database, run_id),
        revisions.refused_causes(database, run_id),
        revisions.count_refused(database, run_id),
    )


@asynccontextmanager
async def _open(
    workspace: Workspace,
    run_id: str,
    sections: RevisionSections,
    batches: Sequence[Batch],
    on_progress: ProgressCallback,
    on_note: Callable[[str], None],
) -> AsyncIterator[OpenReviser]:
    done, asked = 0, sum(batch.rows for batch in batches)

    def on_row() -> None:
        nonlocal done
        done += 1
        on_progress(done, asked)

    settings, shared_limit = reviser_settings(sections), sections.batches.shared_limit
    spent = revisions.spent(workspace.database, run_id)
    budget = Budget(sections.spending.budget_usd, spent.usd or 0.0)
    async with (
        shared_permits(shared_limit) if shared_limit else nullcontext() as permits,
        AnswerJournal(workspace.journal) as journal,
        Asker(
            endpoint(sections.revision),
            asker_settings(sections),
            journal=journal,
            budget=budget,
            permits=permits,
            on_note=on_note,
        ) as asker,
    ):
        reviser = OpenReviser(workspace, run_id, LLMReviser(asker, settings), on_row)
        try:
            yield reviser
        finally:
            await asker.aclose()
            await reviser.store_answers()


async def _run_batches(reviser: OpenReviser, batches: Sequence[Batch], run_batch: BatchRunner) -> None:
    """Run the batches in order, two at a time; the first one that ends the whole run ends the others."""
    waiting = iter(batches)

    async def work() -> None:
        for batch in waiting:
            if reviser.budget_reached is not None:
                return
            try:
                await run_batch(reviser, batch)
            except OpenRevisionsError:
                continue

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_BATCHES_AT_ONCE, len(batches))):
                group.create_task(work())
    except* Exception as errors:
        raise errors.exceptions[0] from None

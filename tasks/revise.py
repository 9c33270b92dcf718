"""Stage revise: kept pairs without a settled revision → revisions and calls, through the journal."""

import asyncio
from collections.abc import Awaitable, Callable

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.errors import LLMError, OpenRevisionsError
from figa_core.ports import ProgressCallback
from figa_core.records import RevisionStatus
from figa_core.revision.reviser import LLMReviser
from figa_core.storage import revisions
from figa_core.storage.intake import Intake, take_in
from figa_core.storage.revisions import Batch
from tasks.asking import OpenClient, ask_in_batches
from tasks.open_rows import check_refusal
from tasks.results import StageCounts, no_progress
from tasks.revised import Revised, open_rows_text
from tasks.revision_settings import RevisionSections, asker_settings, endpoint, reviser_settings
from tasks.stored_answers import use_stored_answers
from tasks.workspace import Workspace

OpenReviser = OpenClient[LLMReviser]
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
    await reviser.take(reviser.client.revise(rows))
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
    database, settings = workspace.database, reviser_settings(sections)
    if known := await use_stored_answers(workspace, run_id, sections.prompt):
        on_note(
            f"{known:,} rows need no call: answers from runs with other limits, judged by this run's limits"
        )
    batches = revisions.batches(database, run_id, sections.batches.rows)
    stopped_by = await ask_in_batches(
        workspace,
        run_id,
        lambda: endpoint(sections.revision),
        asker_settings(sections),
        lambda asker: LLMReviser(asker, settings),
        budget_usd=sections.spending.budget_usd,
        shared_limit=sections.batches.shared_limit,
        batches=batches,
        run_batch=run_batch,
        on_progress=on_progress,
        on_note=on_note,
    )
    revised = _summary(workspace, run_id, stopped_by)
    check_refusal(revised, sections.batches.failed_share_max)
    return revised


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

"""Stage grade: admitted pairs → an LLM's scores of their changed words, through the journal.

Only for the weightings that need them. A pair without usable scores gets the Levenshtein weights, and counts.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.chat.format import load_chat_format
from figa_core.errors import OpenRevisionsError
from figa_core.grading.grader import GraderSettings, LLMGrader, requests_of
from figa_core.ports import GradeRequest, ProgressCallback
from figa_core.revision.words import restore_ends
from figa_core.storage import grades
from figa_core.storage.admitted import AdmittedPairs
from figa_core.storage.grades import RunGrade
from figa_core.storage.intake import take_in
from figa_core.storage.revisions import Batch
from tasks.asking import OpenClient, ask_in_batches
from tasks.graded import Graded, graded_so_far, open_grades_text
from tasks.grading_settings import (
    GradingSections,
    grader_asker_settings,
    grader_endpoint,
    grader_settings,
)
from tasks.open_rows import check_refusal
from tasks.results import no_progress
from tasks.workspace import Workspace

OpenGrader = OpenClient[LLMGrader]
BatchRunner = Callable[[OpenGrader, Batch], Awaitable[object]]


@task(name="grade-batch", task_run_name="grade batch {batch.number}", cache_policy=NO_CACHE)
async def grade_batch(grader: OpenGrader, batch: Batch) -> int:
    """Ask for the batch's open grades; returns how many this settled.

    Raises:
        OpenRevisionsError: grades of the batch remain without an answer.
        LLMError: the endpoint refuses the whole run; what was answered is stored.
    """
    database = grader.workspace.database
    rows = await asyncio.to_thread(grades.requests, database, grader.run_id, batch)
    await grader.take(grader.client.grade([_with_its_ends(row) for row in rows]))
    kinds = await asyncio.to_thread(grades.open_by_kind, database, grader.run_id, batch)
    if kinds:
        raise OpenRevisionsError(f"{open_grades_text(kinds)} of {len(rows):,} in batch {batch.number}.")
    return len(rows)


async def grade(
    workspace: Workspace,
    run_id: str,
    sections: GradingSections,
    model: Path,
    scorer: str,
    *,
    run_batch: BatchRunner = grade_batch.fn,
    on_progress: ProgressCallback = no_progress,
    on_note: Callable[[str], None] = lambda _: None,
) -> Graded:
    """Find the changed words of every admitted pair, and ask once for every open grade.

    `model` is the one to align: its tokens decide which words have changed. The other arguments, and what
    ends the stage, are as in `revise`.

    Raises:
        LLMError: the endpoint refuses more pairs than are tolerated; what was answered is stored.
    """
    database, settings = workspace.database, grader_settings(sections)
    _find_words(workspace, run_id, settings, model, scorer)
    take_in(database, workspace.journal, again=True)  # answers of a lost database have their rows now
    batches = grades.batches(database, run_id, sections.batches.rows)
    stopped_by = await ask_in_batches(
        workspace,
        run_id,
        lambda: grader_endpoint(sections),
        grader_asker_settings(sections),
        lambda asker: LLMGrader(asker, settings),
        budget_usd=sections.spending.budget_usd,
        shared_limit=sections.shared_limit,
        batches=batches,
        run_batch=run_batch,
        on_progress=on_progress,
        on_note=on_note,
    )
    graded = graded_so_far(workspace.database, run_id, stopped_by)
    check_refusal(graded, sections.batches.failed_share_max)
    return graded


def _find_words(
    workspace: Workspace, run_id: str, settings: GraderSettings, model: Path, scorer: str
) -> None:
    """Record which grade each admitted pair needs."""
    database, chat, scratch = workspace.database, load_chat_format(model), workspace.scratch("grade")
    try:
        pairs = AdmittedPairs(database, run_id, scorer, scratch)
        grades.forget_requests(database, run_id)
        for page in pairs.pages():
            needed = [RunGrade(pair_id, request) for pair_id, request in requests_of(chat, page, settings)]
            grades.save_requests(database, run_id, needed)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _with_its_ends(row: GradeRequest) -> GradeRequest:
    return replace(row, revision=restore_ends(row.response, row.revision))

"""Stage score by a judge: texts of this run without a score → scores, through the journal.

A text whose question gets no usable score has no reward, and counts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.config import JudgeRewardConfig
from figa_core.errors import LLMError, OpenRevisionsError, UnjudgedAnswersError
from figa_core.judging.judge import Asks, LLMJudge
from figa_core.ports import ProgressCallback
from figa_core.records import JudgementStatus
from figa_core.row_failures import too_many
from figa_core.storage import judgements, scores
from figa_core.storage.causes import Cause
from figa_core.storage.database import Database
from figa_core.storage.intake import take_in
from figa_core.storage.judgements import Judged
from figa_core.storage.revisions import Batch
from figa_core.storage.scores import Source
from tasks.asking import OpenClient, ask_in_batches
from tasks.judge_settings import JudgeSections, judge_asker_settings, judge_endpoint, judge_settings
from tasks.open_rows import cause_lines, check_open, check_refusal, open_text
from tasks.results import StageCounts, no_progress
from tasks.rewards import Part
from tasks.workspace import Workspace

_NOUN = "judgements"

OpenJudge = OpenClient[LLMJudge[Any]]
Load = Callable[[Database, Judged, Batch], Sequence[Any]]
"""Reads the open questions of a batch."""
BatchRunner = Callable[[OpenJudge, Judged, Batch, Load], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class JudgedTexts:
    """The result of the stage. `counts` has all texts of the source.

    Attributes:
        open_by_kind: texts without an answer, by how the last call ended.
        stopped_by: what ended the stage before its last text: the budget, or the endpoint's refusal.
        open_causes, unfit_causes: the most frequent ones.
    """

    counts: StageCounts
    open_by_kind: dict[str, int]
    stopped_by: LLMError | None
    open_causes: tuple[Cause, ...]
    unfit_causes: tuple[Cause, ...]

    @property
    def open_rows(self) -> int:
        """Texts that asking again may give a score."""
        return sum(self.open_by_kind.values())

    @property
    def without(self) -> int:
        """Texts that have no score for good."""
        return self.counts.n_in - self.counts.n_out - self.open_rows


@task(name="judge-batch", task_run_name="judge batch {batch.number}", cache_policy=NO_CACHE)
async def judge_batch(judge: OpenJudge, judged: Judged, batch: Batch, load: Load) -> int:
    """Ask the batch's open questions, which `load` reads; returns how many there were.

    Raises:
        OpenRevisionsError: questions of the batch remain without an answer.
        LLMError: the endpoint refuses the whole run; what was answered is stored.
    """
    database = judge.workspace.database
    rows = await asyncio.to_thread(load, database, judged, batch)
    await judge.take(judge.client.judge(rows))
    kinds = await asyncio.to_thread(judgements.open_by_kind, database, judged, batch)
    if kinds:
        raise OpenRevisionsError(f"{open_text(kinds, _NOUN)} of {len(rows):,} in batch {batch.number}.")
    return len(rows)


async def score_by_judge(
    workspace: Workspace,
    run_id: str,
    part: Part,
    sections: JudgeSections,
    source: Source,
    *,
    run_batch: BatchRunner = judge_batch.fn,
    on_progress: ProgressCallback = no_progress,
    on_note: Callable[[str], None] = lambda _: None,
) -> JudgedTexts:
    """Ask for the score of every text of `source` without one; no question is paid for twice.

    The arguments, and what ends the stage, are as in `revise`.

    Raises:
        LLMError: the endpoint refuses more texts than are tolerated; what was answered is stored.
    """
    judged, settings, fields = Judged(run_id, part.scorer, source), judge_settings(sections), _fields(part)
    pages = scores.iter_unrated(workspace.database, source, part.scorer, fields)
    return await ask_judge(
        workspace,
        judged,
        sections,
        settings,
        pages,
        partial(judgements.requests, fields=fields),
        run_batch=run_batch,
        on_progress=on_progress,
        on_note=on_note,
    )


async def ask_judge(
    workspace: Workspace,
    judged: Judged,
    sections: JudgeSections,
    settings: Asks[Any],
    pages: Iterable[Sequence[Any]],
    load: Load,
    *,
    run_batch: BatchRunner = judge_batch.fn,
    on_progress: ProgressCallback = no_progress,
    on_note: Callable[[str], None] = lambda _: None,
) -> JudgedTexts:
    """Ask a judge about the subjects in `pages`, and store the values of all subjects of `judged`.

    `load` reads the open questions of a batch again. Raises: as `score_by_judge`.
    """
    database = workspace.database
    for page in pages:
        questions = {request.subject_id: settings.judgement_id(request) for request in page}
        judgements.save_questions(database, judged, questions)
    take_in(database, workspace.journal, again=True)  # answers of a lost database have their rows now

    async def run(judge: OpenJudge, batch: Batch) -> object:
        return await run_batch(judge, judged, batch, load)

    stopped_by = await ask_in_batches(
        workspace,
        judged.run_id,
        partial(judge_endpoint, sections),
        judge_asker_settings(sections),
        lambda asker: LLMJudge(asker, settings),
        budget_usd=sections.spending.budget_usd,
        shared_limit=sections.shared_limit,
        batches=judgements.batches(database, judged, sections.batches.rows),
        run_batch=run,
        on_progress=on_progress,
        on_note=on_note,
    )
    judgements.settle(database, judged)
    found = _judged_texts(workspace, judged, stopped_by)
    check_refusal(found, sections.batches.failed_share_max)
    return found


def check_judged(found: JudgedTexts, name: str, failed_share_max: float) -> None:
    """Whether the run may continue with these scores of the reward `name`.

    Raises:
        OpenRevisionsError: more texts are open than tolerated.
        UnjudgedAnswersError: too many texts have no usable score.
    """
    check_open(found, failed_share_max, noun=_NOUN, rows="answers")
    if too_many(found.without, found.counts.n_in):
        raise UnjudgedAnswersError(
            f"{found.without:,} of {found.counts.n_in:,} answers have no score of the judge {name!r}. Use a "
            "judge that answers in the form that it is asked for, or another template: no answer is paid for "
            f"twice.{cause_lines(found.unfit_causes)}"
        )


def open_line(found: JudgedTexts, name: str) -> str | None:
    """What is said of texts that are left open; None if there are none."""
    if not found.open_rows:
        return None
    return (
        f"{open_text(found.open_by_kind, _NOUN)}, of the reward {name!r}: these rows are left out. A Retry "
        f"asks for them only.{cause_lines(found.open_causes)}"
    )


def _fields(part: Part) -> tuple[str, ...]:
    assert isinstance(part.config, JudgeRewardConfig)
    return part.config.fields


def _judged_texts(workspace: Workspace, judged: Judged, stopped_by: LLMError | None) -> JudgedTexts:
    database = workspace.database
    statuses = judgements.statuses(database, judged)
    scored = statuses.pop(str(JudgementStatus.JUDGED), 0)
    return JudgedTexts(
        StageCounts(scored + sum(statuses.values()), scored, statuses),
        judgements.open_by_kind(database, judged),
        stopped_by,
        judgements.open_causes(database, judged),
        judgements.unfit_causes(database, judged),
    )

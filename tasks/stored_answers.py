"""Open rows that need no call: a run with other limits got an answer to the same question."""

import asyncio
import time

from figa_core.config import RevisionPromptConfig
from figa_core.llm.calls import RowSettled, text_mark
from figa_core.llm.journal import AnswerJournal
from figa_core.records import Purpose, Revision, StoredAnswer
from figa_core.revision.stored_answers import judge_anew
from figa_core.revision.validation import REWRITE, above_limit
from figa_core.storage.intake import take_in
from figa_core.storage.stored_answers import stored_answers
from tasks.workspace import Workspace


async def use_stored_answers(workspace: Workspace, run_id: str, prompt: RevisionPromptConfig) -> int:
    """Judge stored answers by this run's limits; returns how many rows this settles."""
    database, settled, last = workspace.database, 0, ""
    limits = {"max_edit_share": prompt.max_edit_share, "asked_again_max": prompt.asked_again_max}
    here = above_limit(prompt.max_edit_share)
    while page := await asyncio.to_thread(
        stored_answers, database, run_id, limited=REWRITE, limited_here=here, after=last
    ):
        last = page[-1].revision_id
        judged = [(answer, judge_anew(answer, **limits)) for answer in page]
        records = [_settled(answer, revision) for answer, revision in judged if revision is not None]
        async with AnswerJournal(workspace.journal) as journal:
            await asyncio.gather(*map(journal.append, records))
        settled += (await asyncio.to_thread(take_in, database, workspace.journal)).settled
    return settled


def _settled(answer: StoredAnswer, revision: Revision) -> RowSettled:
    about = (Purpose.REVISION, revision.revision_id)
    return RowSettled(time.time(), *about, revision, text_mark(answer.draft))

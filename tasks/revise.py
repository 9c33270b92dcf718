"""Stage revise: kept pairs without a settled revision → revisions and calls, by way of the journal."""

import os
from collections.abc import Callable

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.config import RevisionConfig
from figa_core.errors import ConfigError
from figa_core.ports import ProgressCallback, Reviser
from figa_core.records import RevisionStatus, Stage
from figa_core.revision.client import OpenAIReviser, ReviserSettings
from figa_core.storage.intake import take_in
from figa_core.storage.journal import AnswerJournal
from tasks.results import StageResult, no_progress
from tasks.workspace import Workspace

_BATCH_ROWS = 500


def api_key(config: RevisionConfig) -> str:
    """The key from the environment; raises ConfigError naming the variable when it is missing."""
    key = os.environ.get(config.api_key_env, "")
    if not key:
        raise ConfigError(
            f"the environment variable {config.api_key_env} is empty. Put the reviser's key into it."
        )
    return key


def reviser_settings(config: RevisionConfig) -> ReviserSettings:
    """The plain values the client takes."""
    return ReviserSettings(
        base_url=config.base_url,
        model=config.model,
        requests_per_minute=config.requests_per_minute,
        tokens_per_minute=config.tokens_per_minute,
        max_concurrency=config.max_concurrency,
        max_attempts=config.max_attempts,
        timeout_s=config.timeout_s,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
    )


@task(name="take-in-journal", cache_policy=NO_CACHE)
def take_in_journal(workspace: Workspace) -> None:
    """Store what an earlier run paid for and could not store any more."""
    take_in(workspace.store.database, workspace.journal)


@task(name="revise", task_run_name="revise with {config.model}", cache_policy=NO_CACHE)
async def revise(
    workspace: Workspace, run_id: str, config: RevisionConfig, *, on_progress: ProgressCallback = no_progress
) -> StageResult:
    """Ask for every unsettled row of this run once; no call is made when there is none.

    Raises:
        ReviserError: the endpoint refuses the whole run; what was answered is stored.
    """
    store = workspace.store
    asked = store.count_unsettled_revisions(run_id)
    if asked:
        async with (
            AnswerJournal(workspace.journal) as journal,
            OpenAIReviser(reviser_settings(config), journal=journal, api_key=api_key(config)) as reviser,
        ):
            await _revise_all(workspace, run_id, reviser, lambda done: on_progress(done, asked))
    statuses = store.revision_statuses(run_id)
    succeeded = statuses.pop(str(RevisionStatus.SUCCEEDED), 0)
    return StageResult(Stage.REVISE, succeeded + sum(statuses.values()), succeeded, statuses)


async def _revise_all(
    workspace: Workspace, run_id: str, reviser: Reviser, on_done: Callable[[int], None]
) -> None:
    done = 0
    try:
        for requests in workspace.store.iter_unsettled_revisions(run_id, _BATCH_ROWS):
            async for _ in reviser.revise(requests):
                done += 1  # the row's state is in the journal by now; the database takes it from there
                on_done(done)
            take_in(workspace.store.database, workspace.journal)
    finally:
        take_in(workspace.store.database, workspace.journal)

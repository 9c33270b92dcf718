"""Stage score: texts of this run without a reward → rewards."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.config import RewardConfig
from figa_core.errors import EngineError
from figa_core.inference.choice import Work
from figa_core.inference.engine import Scoring
from figa_core.inference.engines import Engines
from figa_core.models.fingerprint import model_fingerprint
from figa_core.ports import ProgressCallback, RowFailure, ScoringRequest
from figa_core.records import Score, Split
from figa_core.storage.scores import (
    Source,
    Subject,
    count_unscored,
    forget_score_failures,
    iter_unscored,
    references_of,
    responses_of,
    revisions_of,
    save_score_failures,
    save_scores,
    score_failures,
)
from tasks.engines import lent, sampled_length
from tasks.results import StageCounts, no_progress
from tasks.row_failures import Failures, check_failures
from tasks.workspace import Workspace


def scorer_id(workspace: Workspace, config: RewardConfig) -> str:
    """The id under which this reward model's values are stored."""
    return ids.scorer_id(model_fingerprint(config.model, workspace.fingerprints), config.max_length)


@task(name="score-responses", task_run_name="score {split} responses", cache_policy=NO_CACHE)
def score_responses(
    workspace: Workspace,
    run_id: str,
    config: RewardConfig,
    generator: str,
    split: Split,
    *,
    engines: Engines | None = None,
    on_progress: ProgressCallback = no_progress,
) -> StageCounts:
    """Score the responses of one generator in one split.

    A text for which alone the reward model or its template fails is stored with the reason, as in the tasks
    below.

    Raises:
        EngineError: the reward model cannot be used, or fails for too many of the texts.
    """
    source = responses_of(run_id, generator, split)
    return _score(workspace, config, source, "responses", engines, on_progress)


@task(name="score-references", task_run_name="score references", cache_policy=NO_CACHE)
def score_references(
    workspace: Workspace,
    run_id: str,
    config: RewardConfig,
    *,
    engines: Engines | None = None,
    on_progress: ProgressCallback = no_progress,
) -> StageCounts:
    """Score the references of the training prompts; see `score_responses`."""
    return _score(workspace, config, references_of(run_id), "references", engines, on_progress)


@task(name="score-revisions", task_run_name="score revisions", cache_policy=NO_CACHE)
def score_revisions(
    workspace: Workspace,
    run_id: str,
    config: RewardConfig,
    *,
    engines: Engines | None = None,
    on_progress: ProgressCallback = no_progress,
) -> StageCounts:
    """Score the successful revisions; see `score_responses`."""
    return _score(workspace, config, revisions_of(run_id), "revisions", engines, on_progress)


def _score(
    workspace: Workspace,
    config: RewardConfig,
    source: Source,
    texts: str,
    engines: Engines | None,
    on_progress: ProgressCallback,
) -> StageCounts:
    database, scorer = workspace.database, scorer_id(workspace, config)
    missing = count_unscored(database, source, scorer)
    failures = Failures(partial(save_score_failures, database, scorer), missing)
    if missing:
        chat, pages = load_chat_format(config.model), iter_unscored(database, source, scorer)
        length, requests = sampled_length(
            _requests(chat, pages, config.max_length, failures.add), lambda request: request.token_ids
        )
        with lent(engines) as lender:
            settings = Scoring(
                config.model,
                config.max_length,
                gpu_memory_share=config.gpu_memory_share,
                tokens_per_batch=config.tokens_per_batch,
            )
            engine = lender.scorer(config.engine, settings, Work(missing, length), workspace.scratch("score"))
            for batch in engine.score(requests):
                good, failed = _sort_out(batch, scorer)
                failures.done += save_scores(database, good)
                failures.add(failed)
                on_progress(failures.rows, missing)
                if failures.hopeless:
                    break
    found = failures.so_far() if failures.hopeless else score_failures(database, source, scorer)
    check_failures(
        found,
        what=f"{texts} have no reward",
        advice=f"Look at reward.model = {config.model}, its chat template and its weights.",
        error=EngineError,
        forget=partial(forget_score_failures, database, source, scorer),
    )
    return failures.counts()


def _sort_out(
    batch: Sequence[tuple[str, float] | RowFailure], scorer: str
) -> tuple[list[Score], list[RowFailure]]:
    """Rewards that are numbers, and the other rows with the reason."""
    good: list[Score] = []
    failed: list[RowFailure] = []
    for row in batch:
        if isinstance(row, RowFailure):
            failed.append(row)
        elif math.isfinite(row[1]):
            good.append(Score(row[0], scorer, row[1]))
        else:
            failed.append(RowFailure(row[0], f"the value is not a finite number (it is {row[1]})"))
    return good, failed


def _requests(
    chat: ChatFormat,
    pages: Iterator[list[Subject]],
    max_length: int,
    on_failures: Callable[[Sequence[RowFailure]], None] = lambda _: None,
) -> Iterator[ScoringRequest]:
    """Texts as the reward model reads them; those that its template refuses go to `on_failures`."""
    for page in pages:
        texts = chat.conversation_ids_or_reasons([(subject.messages, subject.text) for subject in page])
        rows = list(zip(page, texts, strict=True))
        on_failures([RowFailure(s.subject_id, reason) for s, reason in rows if isinstance(reason, str)])
        for subject, token_ids in rows:
            if not isinstance(token_ids, str):
                yield ScoringRequest(subject.subject_id, token_ids[-max_length:])

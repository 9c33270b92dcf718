"""Stage score: texts of this run without a reward → rewards."""

from collections.abc import Iterator

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.chat import ChatFormat, load_chat_format
from figa_core.config import RewardConfig
from figa_core.fingerprint import model_fingerprint
from figa_core.inference.choice import Work
from figa_core.ports import ProgressCallback, ScoringRequest
from figa_core.records import Score, Split, Stage
from figa_core.storage.rows import Source, Subject, references_of, responses_of, revisions_of
from tasks.engines import Engines, lent, sampled_length
from tasks.results import StageResult, no_progress
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
) -> StageResult:
    """Score the responses of one generator in one split."""
    return _score(workspace, config, responses_of(run_id, generator, split), engines, on_progress)


@task(name="score-references", task_run_name="score references", cache_policy=NO_CACHE)
def score_references(
    workspace: Workspace,
    run_id: str,
    config: RewardConfig,
    *,
    engines: Engines | None = None,
    on_progress: ProgressCallback = no_progress,
) -> StageResult:
    """Score the references of the training prompts."""
    return _score(workspace, config, references_of(run_id), engines, on_progress)


@task(name="score-revisions", task_run_name="score revisions", cache_policy=NO_CACHE)
def score_revisions(
    workspace: Workspace,
    run_id: str,
    config: RewardConfig,
    *,
    engines: Engines | None = None,
    on_progress: ProgressCallback = no_progress,
) -> StageResult:
    """Score the successful revisions."""
    return _score(workspace, config, revisions_of(run_id), engines, on_progress)


def _score(
    workspace: Workspace,
    config: RewardConfig,
    source: Source,
    engines: Engines | None,
    on_progress: ProgressCallback,
) -> StageResult:
    store, scorer = workspace.store, scorer_id(workspace, config)
    missing = store.count_unscored(source, scorer)
    if not missing:
        return StageResult(Stage.SCORE, 0, 0)
    chat, pages = load_chat_format(config.model), store.iter_unscored(source, scorer)
    length, requests = sampled_length(
        _requests(chat, pages, config.max_length), lambda request: request.token_ids
    )
    scored = 0
    with lent(engines) as lender:
        engine = lender.scorer(config, Work(missing, length), scratch=workspace.scratch("score"))
        for batch in engine.score(requests):
            scored += store.save_scores([Score(subject, scorer, value) for subject, value in batch])
            on_progress(scored, missing)
    return StageResult(Stage.SCORE, missing, scored)


def _requests(chat: ChatFormat, pages: Iterator[list[Subject]], max_length: int) -> Iterator[ScoringRequest]:
    for page in pages:
        texts = chat.conversation_ids_batch([(subject.messages, subject.text) for subject in page])
        for subject, token_ids in zip(page, texts, strict=True):
            yield ScoringRequest(subject.subject_id, token_ids[-max_length:])

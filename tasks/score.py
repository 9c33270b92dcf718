"""Stage score: texts of this run without a reward → rewards."""

from collections.abc import Iterator

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.chat import ChatFormat, load_chat_format
from figa_core.config import RewardConfig
from figa_core.fingerprint import model_fingerprint
from figa_core.ports import ScoringRequest
from figa_core.records import Score, Split, Stage
from figa_core.storage.store import Subject
from tasks.engines import make_scorer
from tasks.results import StageResult
from tasks.workspace import Workspace


def scorer_id(workspace: Workspace, config: RewardConfig) -> str:
    """The id under which this reward model's values are stored."""
    return ids.scorer_id(model_fingerprint(config.model, workspace.fingerprints), config.max_length)


@task(name="score-responses", cache_policy=NO_CACHE)
def score_responses(
    workspace: Workspace, run_id: str, config: RewardConfig, generator: str, split: Split
) -> StageResult:
    """Score the responses of one generator in one split."""
    scorer = scorer_id(workspace, config)
    pages = workspace.store.iter_unscored_responses(run_id, generator, split, scorer)
    return _score(workspace, config, scorer, pages)


@task(name="score-references", cache_policy=NO_CACHE)
def score_references(workspace: Workspace, run_id: str, config: RewardConfig) -> StageResult:
    """Score the references of the training prompts."""
    scorer = scorer_id(workspace, config)
    return _score(workspace, config, scorer, workspace.store.iter_unscored_references(run_id, scorer))


@task(name="score-revisions", cache_policy=NO_CACHE)
def score_revisions(workspace: Workspace, run_id: str, config: RewardConfig) -> StageResult:
    """Score the successful revisions."""
    scorer = scorer_id(workspace, config)
    return _score(workspace, config, scorer, workspace.store.iter_unscored_revisions(run_id, scorer))


def _score(
    workspace: Workspace, config: RewardConfig, scorer: str, pages: Iterator[list[Subject]]
) -> StageResult:
    first = next(pages, None)
    if first is None:
        return StageResult(Stage.SCORE, 0, 0)
    engine = make_scorer(config, scratch=workspace.scratch("score"))
    requests = _requests(load_chat_format(config.model), first, pages, config.max_length)
    scored = 0
    for batch in engine.score(requests):
        scored += workspace.store.save_scores([Score(subject, scorer, value) for subject, value in batch])
    return StageResult(Stage.SCORE, scored, scored)


def _requests(
    chat: ChatFormat, first: list[Subject], pages: Iterator[list[Subject]], max_length: int
) -> Iterator[ScoringRequest]:
    page: list[Subject] | None = first
    while page is not None:
        texts = chat.conversation_ids_batch([(subject.messages, subject.text) for subject in page])
        for subject, token_ids in zip(page, texts, strict=True):
            yield ScoringRequest(subject.subject_id, token_ids[-max_length:])
        page = next(pages, None)

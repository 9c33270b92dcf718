"""Stage score: texts of this run without a reward → rewards."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.chat.format import ChatFormat
from figa_core.config import RewardConfig
from figa_core.errors import EngineError
from figa_core.inference.choice import Work
from figa_core.inference.engine import Scoring
from figa_core.inference.engines import Engines
from figa_core.models.fingerprint import model_fingerprint
from figa_core.ports import ProgressCallback, RowFailure, ScoringRequest
from figa_core.records import Score
from figa_core.storage import scores
from figa_core.storage.scores import Source, Subject
from tasks.engines import sampled_length
from tasks.results import StageCounts, no_progress
from tasks.reward_models import form_of, loaded_reward_model, reward_chat, served_label
from tasks.row_failures import Failures
from tasks.server_settings import copies_of, servers_of
from tasks.workspace import Workspace


def scorer_id(workspace: Workspace, config: RewardConfig) -> str:
    """The id of this reward model's values."""
    fingerprint = model_fingerprint(config.model, workspace.fingerprints)
    return ids.scorer_id(fingerprint, config.max_length, **form_of(config))


@task(name="score", task_run_name="score {source.name}", cache_policy=NO_CACHE)
def score(
    workspace: Workspace,
    config: RewardConfig,
    source: Source,
    *,
    engines: Engines,
    on_progress: ProgressCallback = no_progress,
) -> StageCounts:
    """Score the texts of `source` that have no reward yet.

    If the reward model or its template fails for one text alone, the text is stored with the reason.

    Raises:
        EngineError: the reward model cannot be used, or fails for too many of the texts.
    """
    database, scorer = workspace.database, scorer_id(workspace, config)
    missing = scores.count_unscored(database, source, scorer)
    failures = Failures(partial(scores.save_score_failures, database, scorer), missing)
    if missing:
        chat, pages = reward_chat(config), scores.iter_unscored(database, source, scorer)
        length, requests = sampled_length(
            _requests(chat, pages, config.max_length, failures.add), lambda request: request.token_ids
        )
        settings = Scoring(
            loaded_reward_model(workspace, config, config.engine),
            config.max_length,
            label=served_label(config),
            gpu_memory_share=config.gpu_memory_share,
            tokens_per_batch=config.tokens_per_batch,
            servers=servers_of(config),
            copies=copies_of(config),
        )
        engine = engines.scorer(config.engine, settings, Work(missing, length), workspace.scratch("score"))
        failures.settle(
            # Not in a variable, which would keep the engine at it after an early end.
            ([_scored(row, scorer) for row in batch] for batch in engine.score(requests)),
            partial(scores.save_scores, database),
            on_progress,
        )
    return failures.check(
        partial(scores.score_failures, database, source, scorer),
        what=f"{source.name} have no reward",
        advice=f"Look at reward.model = {config.model}, its chat template and its weights.",
        error=EngineError,
        forget=partial(scores.forget_score_failures, database, source, scorer),
    )


def _scored(row: tuple[str, float] | RowFailure, scorer: str) -> Score | RowFailure:
    if isinstance(row, RowFailure):
        return row
    subject_id, reward = row
    if math.isfinite(reward):
        return Score(subject_id, scorer, reward)
    return RowFailure(subject_id, f"the value is not a finite number (it is {reward})")


def _requests(
    chat: ChatFormat,
    pages: Iterator[list[Subject]],
    max_length: int,
    on_failures: Callable[[Sequence[RowFailure]], None],
) -> Iterator[ScoringRequest]:
    """Texts as token ids for the reward model; those that its template refuses go to `on_failures`."""
    for page in pages:
        texts = chat.conversation_ids_or_reasons([(subject.messages, subject.text) for subject in page])
        rows = list(zip(page, texts, strict=True))
        on_failures([RowFailure(s.subject_id, reason) for s, reason in rows if isinstance(reason, str)])
        for subject, token_ids in rows:
            if not isinstance(token_ids, str):
                yield ScoringRequest(subject.subject_id, token_ids[-max_length:])

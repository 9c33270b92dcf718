"""Stage evaluate: a model's scored held-out responses → means with their standard errors."""

import hashlib
import importlib
from collections import Counter
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.config import EvaluationConfig
from figa_core.errors import EvaluationError
from figa_core.evaluation.statistics import estimate
from figa_core.evaluation.verifier import judge, load_verifier
from figa_core.ports import ProgressCallback, RowFailure
from figa_core.records import Score, Split
from figa_core.storage.failures import (
    forget_score_failures,
    save_score_failures,
    score_failures,
    without_value,
)
from figa_core.storage.rows import responses_of
from tasks.results import StageCounts, no_progress
from tasks.row_failures import Failures, check_failures
from tasks.workspace import Workspace


def verifier_id(spec: str) -> str:
    """The id under which a verifier's values are stored; another text of its file is another verifier."""
    module = importlib.import_module(spec.partition(":")[0])
    source = Path(module.__file__).read_bytes() if module.__file__ else b""
    return ids.verifier_id(spec, hashlib.sha256(source).hexdigest())


@task(name="evaluate", task_run_name="evaluate {label}", cache_policy=NO_CACHE)
def evaluate(
    workspace: Workspace,
    run_id: str,
    config: EvaluationConfig,
    label: str,
    generator: str,
    scorer: str,
    *,
    on_progress: ProgressCallback = no_progress,
) -> StageCounts:
    """Mean reward, and the verifier's mean where there is one, of one model on the held-out prompts.

    A prompt without a value is left out of the mean, counted and stored with the reason.

    Raises:
        EvaluationError: the verifier fails for too many of the responses.
    """
    scorers = {"reward": scorer}
    if config.verifier is not None:
        scorers["verifier"] = verifier_id(config.verifier)
        _verify(workspace, run_id, config.verifier, generator, on_progress)
    results = {
        metric: _estimate(workspace, run_id, config, label, generator, metric, metric_scorer)
        for metric, metric_scorer in scorers.items()
    }
    reasons: Counter[str] = Counter()
    for metric, result in results.items():
        reasons.update({f"without a {metric}: {why}": rows for why, rows in result.reasons.items()})
    return StageCounts(
        max(result.n_in for result in results.values()),
        min(result.n_out for result in results.values()),
        dict(reasons.most_common()),
    )


def _estimate(
    workspace: Workspace,
    run_id: str,
    config: EvaluationConfig,
    label: str,
    generator: str,
    metric: str,
    scorer: str,
) -> StageCounts:
    """Store the mean of one metric; the prompts with a value are counted, and the others by why."""
    of_model = (run_id, generator, scorer, Split.HELD_OUT, config.max_prompts)
    values = workspace.store.prompt_values(*of_model)
    without = without_value(workspace.store.database, *of_model)
    found, left_out = estimate(values.values()), sum(without.values())
    if found.mean is not None:
        means = (found.n, found.mean, found.standard_error)
        workspace.store.save_evaluation(run_id, label, generator, scorer, metric, means, left_out)
    return StageCounts(found.n + left_out, found.n, without)


def _verify(
    workspace: Workspace, run_id: str, spec: str, generator: str, on_progress: ProgressCallback
) -> None:
    store, scorer, verifier = workspace.store, verifier_id(spec), load_verifier(spec)
    source = responses_of(run_id, generator, Split.HELD_OUT)
    missing = store.count_unscored(source, scorer)
    failures = Failures(partial(save_score_failures, store.database, scorer), missing)
    for page in store.iter_unscored(source, scorer):
        judged = [(s.subject_id, judge(verifier, s.messages, s.text)) for s in page]
        failures.done += store.save_scores([Score(k, scorer, v) for k, v in judged if not isinstance(v, str)])
        failures.add([RowFailure(key, value) for key, value in judged if isinstance(value, str)])
        on_progress(failures.rows, missing)
    check_failures(
        score_failures(store.database, source, scorer),
        what=f"responses have no value of evaluation.verifier = {spec!r}",
        advice="It gets (messages, text), and must return a number from 0 to 1.",
        error=EvaluationError,
        forget=partial(forget_score_failures, store.database, source, scorer),
    )

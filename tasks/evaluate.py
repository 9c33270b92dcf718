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
from figa_core.storage.evaluations import Evaluation, prompt_values, save_evaluation, without_value
from figa_core.storage.responses import Samples
from figa_core.storage.scores import (
    count_unscored,
    forget_score_failures,
    iter_unscored,
    responses_of,
    save_score_failures,
    save_scores,
    score_failures,
)
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
    samples = Samples(run_id, generator, Split.HELD_OUT, max_prompts=config.max_prompts)
    found = estimate(prompt_values(workspace.database, samples, scorer).values())
    without = without_value(workspace.database, samples, scorer)
    left_out = sum(without.values())
    if found.mean is not None:
        evaluation = Evaluation(
            run_id=run_id,
            label=label,
            metric=metric,
            generator_id=generator,
            scorer_id=scorer,
            n=found.n,
            mean=found.mean,
            standard_error=found.standard_error,
            left_out=left_out,
        )
        save_evaluation(workspace.database, evaluation)
    return StageCounts(found.n + left_out, found.n, without)


def _verify(
    workspace: Workspace, run_id: str, spec: str, generator: str, on_progress: ProgressCallback
) -> None:
    database, scorer, verifier = workspace.database, verifier_id(spec), load_verifier(spec)
    source = responses_of(run_id, generator, Split.HELD_OUT)
    missing = count_unscored(database, source, scorer)
    failures = Failures(partial(save_score_failures, database, scorer), missing)
    for page in iter_unscored(database, source, scorer):
        judged = [(s.subject_id, judge(verifier, s.messages, s.text)) for s in page]
        good = [Score(key, scorer, value) for key, value in judged if not isinstance(value, str)]
        failures.done += save_scores(database, good)
        failures.add([RowFailure(key, value) for key, value in judged if isinstance(value, str)])
        on_progress(failures.rows, missing)
    check_failures(
        score_failures(database, source, scorer),
        what=f"responses have no value of evaluation.verifier = {spec!r}",
        advice="It gets (messages, text), and must return a number from 0 to 1.",
        error=EvaluationError,
        forget=partial(forget_score_failures, database, source, scorer),
    )

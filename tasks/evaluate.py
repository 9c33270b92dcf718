"""Stage evaluate: a model's scored held-out responses → means with their standard errors."""

import hashlib
import importlib
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.config import EvaluationConfig
from figa_core.evaluation.statistics import estimate
from figa_core.evaluation.verifier import load_verifier
from figa_core.ports import ProgressCallback
from figa_core.records import Score, Split, Stage
from figa_core.storage.rows import responses_of
from tasks.results import StageResult, no_progress
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
) -> StageResult:
    """Mean reward, and the verifier's mean where there is one, of one model on the held-out prompts.

    Raises:
        EvaluationError: a score is not finite.
    """
    scorers = {"reward": scorer}
    if config.verifier is not None:
        scorers["verifier"] = verifier_id(config.verifier)
        _verify(workspace, run_id, config.verifier, generator, on_progress)
    n = 0
    for metric, metric_scorer in scorers.items():
        values = workspace.store.prompt_values(
            run_id, generator, metric_scorer, Split.HELD_OUT, config.max_prompts
        )
        found = estimate(values.values())
        n = found.n
        if found.mean is not None:
            workspace.store.save_evaluation(
                run_id, label, generator, metric_scorer, metric, (found.n, found.mean, found.standard_error)
            )
    return StageResult(Stage.EVALUATE, n, n)


def _verify(
    workspace: Workspace, run_id: str, spec: str, generator: str, on_progress: ProgressCallback
) -> None:
    store, scorer, verifier = workspace.store, verifier_id(spec), load_verifier(spec)
    source = responses_of(run_id, generator, Split.HELD_OUT)
    missing, done = store.count_unscored(source, scorer), 0
    for page in store.iter_unscored(source, scorer):
        scores = [Score(s.subject_id, scorer, float(verifier(s.messages, s.text))) for s in page]
        done += store.save_scores(scores)
        on_progress(done, missing)

"""Stage evaluate: a model's scored held-out responses → means with their standard errors."""

from collections import Counter
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.config import EvaluationConfig, PipelineConfig
from figa_core.errors import EvaluationError
from figa_core.evaluation.statistics import estimate
from figa_core.evaluation.verifier import judge, load_verifier
from figa_core.ports import ProgressCallback, RowFailure
from figa_core.records import Score, Split
from figa_core.rewards.source import source_hash
from figa_core.storage import scores
from figa_core.storage.evaluations import Evaluation, prompt_values, save_evaluation, without_value
from figa_core.storage.prompts import count_prompts
from figa_core.storage.responses import Samples, chosen_prompts
from figa_core.storage.scores import Source, Subject
from tasks.generate import Sampling
from tasks.results import StageCounts, no_progress
from tasks.row_failures import Failures
from tasks.workspace import Workspace

VERIFIER_CONTRACT = "It gets (messages, text), and must return a number from 0 to 1."


def held_out_sampling(config: EvaluationConfig, model: Path) -> Sampling:
    """How a model is sampled to be judged."""
    return Sampling(model, Split.HELD_OUT, config.temperature, 1, config.max_prompts)


def check_held_out(workspace: Workspace, run_id: str, config: PipelineConfig, least: int = 1) -> None:
    """Whether the imported prompts leave enough held-out ones to judge by.

    Raises:
        EvaluationError: there are fewer than `least`.
    """
    samples = Samples(run_id, "", Split.HELD_OUT, max_prompts=config.evaluation.max_prompts)
    found, prompts = (
        len(chosen_prompts(workspace.database, samples)),
        count_prompts(workspace.database, run_id),
    )
    if found < least:
        raise EvaluationError(
            f"prompts.held_out_share = {config.prompts.held_out_share:g} leaves {found} of {prompts:,} "
            f"prompts to judge the models by, where {least} {'is' if least == 1 else 'are'} the least, so "
            "nothing is revised or trained. Raise it (or evaluation.max_prompts, if that is lower), or give "
            "more prompts."
        )


def verifier_id(spec: str) -> str:
    """The id of a verifier's values; if its file changes, or a module beside it that it imports, it is
    another verifier.

    Raises:
        ConfigError: there is no such module, or it cannot be read.
    """
    return ids.verifier_id(spec, source_hash(spec))


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
    """The mean reward, and the mean of a verifier if there is one, of one model on the held-out prompts.

    Prompts without a value are left out of the mean, counted and stored with the reason.

    Raises:
        EvaluationError: the verifier fails for too many of the responses.
    """
    scorers = {"reward": scorer}
    if config.verifier is not None:
        scorers["verifier"] = verifier_id(config.verifier)
        verify(workspace, run_id, config.verifier, generator, on_progress)
    database, reasons = workspace.database, Counter[str]()
    samples = Samples(run_id, generator, Split.HELD_OUT, max_prompts=config.max_prompts)
    rows, judged = 0, list[int]()
    for metric, metric_scorer in scorers.items():
        found = estimate(prompt_values(database, samples, metric_scorer).values())
        without = without_value(database, samples, metric_scorer)
        left_out = sum(without.values())
        if found.mean is not None:
            evaluation = Evaluation(
                run_id=run_id,
                label=label,
                metric=metric,
                generator_id=generator,
                scorer_id=metric_scorer,
                n=found.n,
                mean=found.mean,
                standard_error=found.standard_error,
                left_out=left_out,
            )
            save_evaluation(database, evaluation)
        reasons.update({f"without a {metric}: {why}": count for why, count in without.items()})
        rows = max(rows, found.n + left_out)
        judged.append(found.n)
    return StageCounts(rows, min(judged), dict(reasons.most_common()))


def verify(
    workspace: Workspace, run_id: str, spec: str, generator: str, on_progress: ProgressCallback
) -> None:
    """Store the verifier's values of one model's held-out responses, except those that are stored already.

    Raises:
        EvaluationError: the verifier fails for too many of them.
    """
    verify_texts(workspace, spec, scores.responses_of(run_id, generator, Split.HELD_OUT), on_progress)


def verify_texts(
    workspace: Workspace, spec: str, source: Source, on_progress: ProgressCallback = no_progress
) -> StageCounts:
    """The same for the texts of any source. Raises EvaluationError if it fails for too many of them."""
    database, scorer, verifier = workspace.database, verifier_id(spec), load_verifier(spec)
    missing = scores.count_unscored(database, source, scorer)
    failures = Failures(partial(scores.save_score_failures, database, scorer), missing)

    def judged(subject: Subject) -> Score | RowFailure:
        value = judge(verifier, subject.messages, subject.text)
        if isinstance(value, str):
            return RowFailure(subject.subject_id, value)
        return Score(subject.subject_id, scorer, value)

    pages = scores.iter_unscored(database, source, scorer)
    batches = ([judged(subject) for subject in page] for page in pages)
    failures.settle(batches, partial(scores.save_scores, database), on_progress)
    return failures.check(
        partial(scores.score_failures, database, source, scorer),
        what=f"{source.name} have no value of evaluation.verifier = {spec!r}",
        advice=VERIFIER_CONTRACT,
        error=EvaluationError,
        forget=partial(scores.forget_score_failures, database, source, scorer),
    )

"""`figa judge`: an LLM compares the held-out answers of two models of a stored run."""

import asyncio
from pathlib import Path

from figa_core.errors import ConfigError, InputError
from figa_core.report.data import JudgedPair
from flows.preferring import prefer_answers
from flows.progress import Progress
from flows.run.open_run import visit_run
from flows.run.story import Story
from flows.stored import stored_config
from tasks.prefer import is_judged, side_of
from tasks.report import collect, time_of_report, write
from tasks.score_by_judge import judge_batch


def judge_models(
    workspace: Path, model: str, against: str, run_id: str | None, progress: Progress
) -> tuple[JudgedPair, Path]:
    """Compare two models that the run has evaluated, and write its report again; returns its path, too.

    Raises:
        InputError: there is no such run or model, or their answers share no prompt.
        ConfigError: the run has no judge.
    """
    config = stored_config(workspace.expanduser().absolute(), run_id)
    if not is_judged(config):
        raise ConfigError(
            "evaluation.judge: this run has no judge. Set evaluation.judge.model, and run again with these "
            "settings: nothing is repeated."
        )
    if model == against:
        raise InputError(f"{model!r} cannot be compared with itself. Name another model.")
    with visit_run(config, "figa judge", progress) as run:
        one, other = (side_of(run.workspace, run.run_id, label) for label in (against, model))
        asyncio.run(prefer_answers(Story(progress), run, config, one, other, run_batch=judge_batch.fn))
        for line in run.warnings:
            progress.line(f"warning: {line}")
        data = collect(run.workspace, run.run_id, time_of_report())
        write(run.workspace, data)
        path = run.workspace.report(run.run_id)
    found = [pair for pair in data.judged_pairs if (pair.one, pair.other) == (against, model)]
    if not found:
        raise InputError(
            f"{model} and {against} were not compared: the judge answered nothing, or no held-out prompt has "
            "answers of both."
        )
    return found[0], path

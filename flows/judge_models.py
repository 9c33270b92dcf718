"""An LLM compares the held-out answers of two models of a stored run.

`figa judge` and the deployment `judge-models` do the same.
"""

import asyncio
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.errors import ConfigError, InputError
from figa_core.report.data import JudgedPair, ReportData
from flows.preferring import prefer_answers
from flows.progress import Progress, current
from flows.run.artifacts import publish_report
from flows.run.open_run import OpenRun, visit_run
from flows.run.parameters import absolute
from flows.run.story import Story
from flows.stored import stored_config
from tasks.prefer import is_judged, side_of
from tasks.report import collect, report, time_of_report, write
from tasks.score_by_judge import BatchRunner, judge_batch
from tasks.train import BASE_LABEL


def _run_name() -> str:
    given = flow_run.parameters
    workspace, against = Path(given["workspace"]).name, given.get("against", BASE_LABEL)
    return f"{workspace}: compare {given['model']} with {against} by judge"


@flow(name="judge-models", flow_run_name=_run_name, persist_result=False)
async def judge_models(
    workspace: Path, model: str, against: str = BASE_LABEL, run_id: str | None = None
) -> JudgedPair:
    """Let the judge of a stored run compare the held-out answers of two of its models.

    The run's report is written again. What the judge has answered is not asked again.

    Args:
        workspace: Directory of the workspace.
        model: Name of an evaluated model, as in the run's report, such as FIGA.
        against: The model to compare it with; by default the base.
        run_id: Id of the run; by default the latest.

    Raises:
        InputError: there is no such workspace, run or model, or their answers share no prompt.
        ConfigError: the run has no judge.
        FigaError: what was wrong, where, and what to do; what was done before is stored.
    """
    workspace, progress = absolute("workspace", workspace), current()
    config = _judged_config(workspace, model, against, run_id)
    with visit_run(config, flow_run.name or "judge-models", progress) as run:
        await _ask(run, config, model, against, progress, judge_batch)
        data = report(run.workspace, run.run_id, created_at=time_of_report())
        await publish_report(run, data)
    return _pair(data, model, against)


def judge_answers(
    workspace: Path, model: str, against: str, run_id: str | None, progress: Progress
) -> tuple[JudgedPair, Path]:
    """The same without a Prefect server; returns the report's path, too. Raises: see `judge_models`."""
    config = _judged_config(workspace.expanduser().absolute(), model, against, run_id)
    with visit_run(config, "figa judge", progress) as run:
        asyncio.run(_ask(run, config, model, against, progress, judge_batch.fn))
        data = collect(run.workspace, run.run_id, time_of_report())
        write(run.workspace, data)
        return _pair(data, model, against), run.workspace.report(run.run_id)


def _judged_config(workspace: Path, model: str, against: str, run_id: str | None) -> PipelineConfig:
    config = stored_config(workspace, run_id)
    if not is_judged(config):
        raise ConfigError(
            "evaluation.judge: this run has no judge. Set evaluation.judge.model, and run again with these "
            "settings: nothing is repeated."
        )
    if model == against:
        raise InputError(f"{model!r} cannot be compared with itself. Name another model.")
    return config


async def _ask(
    run: OpenRun,
    config: PipelineConfig,
    model: str,
    against: str,
    progress: Progress,
    run_batch: BatchRunner,
) -> None:
    one, other = (side_of(run.workspace, run.run_id, label) for label in (against, model))
    await prefer_answers(Story(progress), run, config, one, other, run_batch=run_batch)
    for line in run.warnings:
        progress.line(f"warning: {line}")


def _pair(data: ReportData, model: str, against: str) -> JudgedPair:
    found = [pair for pair in data.judged_pairs if (pair.one, pair.other) == (against, model)]
    if not found:
        raise InputError(
            f"{model} and {against} were not compared: the judge answered nothing, or no held-out prompt has "
            "answers of both."
        )
    return found[0]

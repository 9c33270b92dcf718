"""The story: from a file of prompts to a better model and a report that shows why.

Read it from top to bottom; every stage is the file of that name in `tasks/`. Rows never pass through here:
a stage reads what of this run is not done yet from the workspace, and stores what it did.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.records import Split, Stage
from figa_core.report.data import ReportData
from flows.artifacts import publish_failures, publish_report
from flows.open_run import OpenRun, open_run
from flows.progress import Progress, current, result_line
from tasks.evaluate import evaluate
from tasks.filter import admit, filter_responses
from tasks.generate import Sampling, generate, generator_id
from tasks.import_prompts import import_prompts
from tasks.report import report
from tasks.results import StageResult
from tasks.revise import RevisionSections, check_open_rows, revise, revise_batch, take_in_journal
from tasks.score import score_references, score_responses, score_revisions
from tasks.train import BASE_LABEL, label_of, train
from tasks.weigh import weigh


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a finished run hands back: where its report is, what it shows, and seconds by stage."""

    run_id: str
    report: Path
    data: ReportData
    seconds: dict[str, float]


def _flow_run_name() -> str:
    config = flow_run.parameters["config"]
    if not isinstance(config, PipelineConfig):
        config = PipelineConfig.model_validate(config)
    return f"{config.workspace.name}: {config.prompts.path.name} for {config.generation.model.name}"


@flow(name="figa", flow_run_name=_flow_run_name)
async def figa(config: PipelineConfig) -> RunResult:
    """Align `config.generation.model` with FIGA and compare it with the baselines.

    Raises:
        FigaError: what was wrong, where, and what to do; what was done until then is stored.
    """
    progress = current()
    with open_run(config, flow_run.name or "figa", progress) as run:
        story = _Story(run, progress)
        take_in_journal(run.workspace)
        await _build_pairs(story, config)
        weighed = await story.tell("weigh", weigh, config.weighting, config.generation.model, run.scorer)

        models = {BASE_LABEL: config.generation.model}
        for objective in (config.loss.objective, *config.evaluation.baselines):
            label = label_of(objective)
            loss = config.loss.model_copy(update={"objective": objective})
            trained = await story.tell(
                f"train {label}", train, weighed, config.generation.model, loss, config.training
            )
            models[label] = trained.directory

        for label, model in models.items():
            await _judge(story, config, label, model)
        data = await story.tell("report", report, created_at=_now(), counted=False)
        await publish_report(run, data)
    return RunResult(run.run_id, run.workspace.report(run.run_id), data, story.seconds)


async def _build_pairs(story: "_Story", config: PipelineConfig) -> None:
    """Import, generate, score, filter, revise, score, admit."""
    run = story.run
    await story.tell("import", import_prompts, config.prompts, config.generation.model)
    await story.tell("generate", generate, config.generation, run.sampling, config.prompts.max_prompt_tokens)
    await story.tell("score responses", score_responses, config.reward, run.generator, Split.TRAIN)
    await story.tell("score references", score_references, config.reward)
    await story.tell(
        "filter",
        filter_responses,
        config.filter,
        config.revision,
        run.templates,
        run.generator,
        run.scorer,
        counted=False,
    )
    await _revise(story, config)
    await story.tell("score revisions", score_revisions, config.reward)
    await story.tell("admit", admit, config.admission, run.scorer, counted=False)


async def _revise(story: "_Story", config: PipelineConfig) -> None:
    """Ask for what is open; show what has no usable revision, and go on only if it is little enough.

    Raises:
        OpenRevisionsError: see `tasks.revise.check_open_rows`.
    """
    revised = await story.tell("revise", revise, RevisionSections.of(config), run_batch=revise_batch)
    await publish_failures(story.run)
    check_open_rows(revised, config.revision_batches.failed_share_max)


async def _judge(story: "_Story", config: PipelineConfig, label: str, model: Path) -> None:
    """Sample a model on the held-out prompts, score the samples, store the means."""
    run, evaluation = story.run, config.evaluation
    sampling = Sampling(model, Split.HELD_OUT, evaluation.temperature, 1, evaluation.max_prompts)
    generator = generator_id(run.workspace, config.generation, sampling)
    await story.tell(
        f"evaluate {label}: generate",
        generate,
        config.generation,
        sampling,
        config.prompts.max_prompt_tokens,
    )
    await story.tell(f"evaluate {label}: score", score_responses, config.reward, generator, Split.HELD_OUT)
    await story.tell(f"evaluate {label}", evaluate, evaluation, label, generator, run.scorer)


class _Story:
    """Calls one stage after another, shows each, and keeps the time each took."""

    def __init__(self, run: OpenRun, progress: Progress) -> None:
        self.run, self.seconds = run, dict[str, float]()
        self._progress = progress

    async def tell(
        self, title: str, stage: Callable[..., Any], *arguments: Any, counted: bool = True, **named: Any
    ) -> Any:
        """Run a stage on this run's workspace; `counted`: whether it reports its progress."""
        begun = time.monotonic()
        with self._progress.stage(title) as on_progress:
            if counted:
                named["on_progress"] = on_progress
            result = stage(self.run.workspace, self.run.run_id, *arguments, **named)
            if asyncio.iscoroutine(result):
                result = await result
        self.seconds[title] = time.monotonic() - begun
        counts = result if isinstance(result, StageResult) else getattr(result, "result", None)
        shown = counts or StageResult(Stage.REPORT, 1, 1)
        self._progress.line(result_line(title, shown, self.seconds[title]))
        return result


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")

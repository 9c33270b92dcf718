"""Benchmarks of a run's models by lm-eval."""

from collections.abc import Mapping
from pathlib import Path

from figa_core.config import PipelineConfig
from figa_core.errors import EngineError
from flows.run.open_run import OpenRun
from flows.run.story import Story
from tasks.benchmark import BenchmarkPlan, benchmark, plan_benchmarks
from tasks.results import StageCounts
from tasks.train import BASE_LABEL


def benchmark_models(story: Story, run: OpenRun, config: PipelineConfig, models: Mapping[str, Path]) -> None:
    """Ask the base and these models, by label, the tasks that they have not been asked.

    The models are trained and judged by now, so a task without a result does not end the run.
    """
    if not config.evaluation.harness.tasks:
        return
    for label, model in {BASE_LABEL: config.generation.model, **models}.items():
        benchmark_model(story, run, config, label, model)


def benchmark_model(
    story: Story,
    run: OpenRun,
    config: PipelineConfig,
    label: str,
    model: Path,
    *,
    in_report: bool = True,
) -> BenchmarkPlan | None:
    """Ask one model what it has not been asked; returns what it was to be asked, or None if that failed.

    `in_report`: whether the run's report shows the results under this label.
    """
    run_id = run.run_id if in_report else None
    plan = None
    with story.stage(f"benchmark {label}", stopping="finished tasks are stored") as stage:
        stage.counts = StageCounts(len(config.evaluation.harness.tasks), 0)
        try:
            plan = plan_benchmarks(run.workspace, config, model)
            if plan.missing:
                run.engines.end()  # lm-eval loads the model itself
            found = benchmark(
                run.workspace, run_id, config, label, model, plan, on_progress=stage.on_progress
            )
        except EngineError as error:
            run.warn(f"evaluation.harness: {label}: {error}\nThe same command continues there.")
            return plan
        stage.counts = found.counts
    for failure in found.failures:
        run.warn(f"evaluation.harness: {label}: {failure.task}: {failure.message}")
    for score in found.without:
        run.warn(f"evaluation.harness: {label}: {score} is no finite number, and is left out")
    return plan

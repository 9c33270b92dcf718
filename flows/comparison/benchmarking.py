"""Benchmarks by lm-eval of the base and of the model that each method of a comparison came to."""

from pathlib import Path

from figa_core.config import PipelineConfig
from figa_core.report.benchmarks import Benchmarks
from figa_core.report.methods.data import MethodsData
from flows.benchmarking import benchmark_model
from flows.run.open_run import OpenRun
from flows.run.story import Story
from tasks.benchmark import BenchmarkPlan
from tasks.benchmark_report import compared_benchmarks
from tasks.train import BASE_LABEL


def benchmark_methods(story: Story, run: OpenRun, config: PipelineConfig, data: MethodsData) -> Benchmarks:
    """Ask them the tasks of `evaluation.harness` that they have not been asked, also not by another run.

    A task without a result, and a model that was not kept, are warnings and gaps in the report.
    """
    if not config.evaluation.harness.tasks:
        return Benchmarks()
    plans: dict[str, BenchmarkPlan | None] = {}
    plans[BASE_LABEL] = benchmark_model(
        story, run, config, BASE_LABEL, config.generation.model, in_report=False
    )
    for method in data.methods:
        if (best := method.best) is None:
            continue
        label = data.label(method)
        if best.model is None:
            plans[label] = None
            run.warn(f"evaluation.harness: {label}: the model of training {best.training_id} was not kept")
        else:
            plans[label] = benchmark_model(story, run, config, label, Path(best.model), in_report=False)
    return compared_benchmarks(run.workspace, config, plans)

"""The part of `figa plan` about lm-eval: the tasks that each model is to be asked, and those stored."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from figa_core.config import PipelineConfig
from figa_core.errors import InputError
from figa_core.storage.runs import Run, find_run
from figa_core.training.objectives.registry import label_of
from tasks.benchmark import plan_benchmarks
from tasks.judged_models import trained_model
from tasks.train import BASE_LABEL
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class BenchmarkingPlan:
    """`missing` and `stored`: the tasks without and with a result, in their order, by the model's label."""

    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def plan_benchmarking(
    config: PipelineConfig, workspace: Workspace, run_id: str | None
) -> BenchmarkingPlan | None:
    """None without tasks. `run_id`: the run of these settings, if the workspace may have it.

    A model that is not trained yet has no results.

    Raises:
        EngineError: lm-eval's environment is missing, or does not answer.
        ConfigError, InputError: a model or its chat format cannot be used.
    """
    tasks = config.evaluation.harness.tasks
    if not tasks:
        return None
    missing, stored = dict[str, tuple[str, ...]](), dict[str, tuple[str, ...]]()
    for label, model in _models(config, workspace, run_id).items():
        asked = frozenset[str]() if model is None else _asked(config, workspace, model)
        missing[label] = tuple(task for task in tasks if task not in asked)
        stored[label] = tuple(task for task in tasks if task in asked)
    return BenchmarkingPlan(missing, stored)


def benchmarking_lines(plan: BenchmarkingPlan) -> Iterator[str]:
    """The plan as lines for people."""
    count, done = (sum(map(len, part.values())) for part in (plan.missing, plan.stored))
    yield f"lm-eval: {_times(count)} to be asked, {_times(done)} stored"
    for label in plan.missing:
        parts = (("to be asked", plan.missing[label]), ("stored", plan.stored[label]))
        yield f"  {label}: " + "; ".join(f"{what}: {', '.join(tasks)}" for what, tasks in parts if tasks)


def _times(count: int) -> str:
    return "1 task of a model" if count == 1 else f"{count:,} tasks of models"


def _asked(config: PipelineConfig, workspace: Workspace, model: Path) -> frozenset[str]:
    plan = plan_benchmarks(workspace, config, model)
    return frozenset(each.task for each in plan.wanted if each.benchmark_id in plan.stored)


def _models(config: PipelineConfig, workspace: Workspace, run_id: str | None) -> dict[str, Path | None]:
    """The models that the run benchmarks, by label; None for one that is not there yet."""
    run = None if run_id is None else _stored_run(workspace, run_id)
    base = config.generation.model if workspace.database.path.is_file() else None
    found: dict[str, Path | None] = {BASE_LABEL: base}
    for objective in (config.loss.objective, *config.evaluation.baselines):
        found[label_of(objective)] = None if run is None else trained_model(workspace, run, objective)
    return found


def _stored_run(workspace: Workspace, run_id: str) -> Run | None:
    try:
        return find_run(workspace.database, run_id)
    except InputError:
        return None

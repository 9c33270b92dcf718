"""What reports show of lm-eval's tasks, read from the stored results."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from figa_core.config import PipelineConfig
from figa_core.harness.request import VLLM
from figa_core.report.benchmarks import Benchmarks, benchmark_rows
from figa_core.storage.benchmarks import RunBenchmark, benchmarks_of, read_benchmarks
from figa_core.storage.evaluations import evaluations_of
from figa_core.storage.runs import Run
from figa_core.training.objectives.registry import label_of
from tasks.benchmark import BenchmarkPlan
from tasks.train import BASE_LABEL
from tasks.workspace import Workspace


def shown_benchmarks(workspace: Workspace, run: Run, config: PipelineConfig) -> Benchmarks:
    """What the report of a run shows of lm-eval; nothing if no task is named or no model is judged yet."""
    wanted = config.evaluation.harness.tasks
    judged = {row.label for row in evaluations_of(workspace.database, run.run_id)}
    if not wanted or not judged:
        return Benchmarks()
    objectives = (config.loss.objective, *config.evaluation.baselines)
    labels = dict.fromkeys((BASE_LABEL, *map(label_of, objectives), *sorted(judged)))
    found = benchmarks_of(workspace.database, run.run_id)
    return _benchmarks(found, wanted, (label for label in labels if label in judged))


def compared_benchmarks(
    workspace: Workspace, config: PipelineConfig, plans: Mapping[str, BenchmarkPlan | None]
) -> Benchmarks:
    """What has a result of what these models were to be asked, by label; None for one that was not asked."""
    named = [
        (label, each.benchmark_id)
        for label, plan in plans.items()
        if plan is not None
        for each in plan.wanted
    ]
    return _benchmarks(read_benchmarks(workspace.database, named), config.evaluation.harness.tasks, plans)


def _benchmarks(found: Sequence[RunBenchmark], wanted: Sequence[str], labels: Iterable[str]) -> Benchmarks:
    """`labels`: the models of which each should have every task, in the order of the columns."""
    mine: dict[str, list[RunBenchmark]] = {label: [] for label in labels}
    for each in found:
        mine.setdefault(each.label, []).append(each)
    asked = {label: {each.benchmark.task for each in rows} for label, rows in mine.items()}
    missing = {label: tuple(t for t in wanted if t not in tasks) for label, tasks in asked.items()}
    scores = {label: [score for each in rows for score in each.scores] for label, rows in mine.items()}
    rows, others = benchmark_rows({label: each for label, each in scores.items() if each}, BASE_LABEL)
    return Benchmarks(
        rows,
        others,
        release=found[0].benchmark.harness if found else "",
        how=tuple(_how(found[0])) if found else (),
        missing={label: tasks for label, tasks in missing.items() if tasks},
    )


def _how(one: RunBenchmark) -> Iterator[str]:
    settings, by_vllm = one.benchmark.settings, one.benchmark.engine == VLLM
    version = one.versions.get("vllm" if by_vllm else "transformers", "")
    yield f"{'vLLM' if by_vllm else 'transformers'} {version}".strip()
    yield "in the model's chat template" if settings["chat_template"] else "as plain text"
    if "num_fewshot" in settings:
        yield f"with {settings['num_fewshot']} examples before each question"
    if "seed" in settings:
        yield f"seed {settings['seed']}"

"""Stage benchmark: a model → its scores in tasks of lm-eval, each asked once, whatever run asks for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.chat.thinking import thoughts_of
from figa_core.config import PipelineConfig
from figa_core.harness.environment import HarnessPython, find_harness
from figa_core.harness.folder import tasks_hash
from figa_core.harness.request import VLLM, Request
from figa_core.harness.results import BenchmarkResult
from figa_core.harness.run import TaskFailure, run_harness
from figa_core.harness.survey import Survey, look_up
from figa_core.inference.checkpoint import checkpoint_dtype, weights_bytes
from figa_core.inference.vllm_process import threads_for
from figa_core.models.check import require_model
from figa_core.models.fingerprint import model_fingerprint
from figa_core.models.role import ModelRole
from figa_core.ports import ProgressCallback
from figa_core.storage import benchmarks as storage
from figa_core.storage.benchmarks import Benchmark
from tasks.chat_formats import generation_chat, template_variables
from tasks.results import StageCounts, no_progress
from tasks.whole_models import whole_model
from tasks.workspace import Workspace

_KEY_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """The tasks that went in and those with a result; `failures`: why the others have none.

    `without`: scores that are no finite number, and are left out.
    """

    counts: StageCounts
    failures: tuple[TaskFailure, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """What a model is to be asked, in the order of the settings, and which of these ids have a result."""

    harness: HarnessPython
    wanted: tuple[Benchmark, ...]
    stored: frozenset[str]

    @property
    def missing(self) -> tuple[Benchmark, ...]:
        """Those without a result."""
        return tuple(each for each in self.wanted if each.benchmark_id not in self.stored)


def plan_benchmarks(workspace: Workspace, config: PipelineConfig, model: Path) -> BenchmarkPlan:
    """What `evaluation.harness` asks a model.

    Raises:
        EngineError: lm-eval's environment is missing, or does not answer.
        ConfigError, InputError: the model or its chat format cannot be used.
    """
    harness = find_harness()
    wanted = planned(workspace, config, model, harness)
    keys = [each.benchmark_id for each in wanted]
    return BenchmarkPlan(
        harness, tuple(wanted), frozenset(storage.stored_benchmarks(workspace.database, keys))
    )


@task(name="benchmark", task_run_name="benchmark {label}", cache_policy=NO_CACHE)
def benchmark(
    workspace: Workspace,
    run_id: str | None,
    config: PipelineConfig,
    label: str,
    model: Path,
    plan: BenchmarkPlan,
    *,
    on_progress: ProgressCallback = no_progress,
) -> Benchmarked:
    """Ask a model what its plan misses.

    Each result is stored when its task is done. A task that fails is asked again by the next run. `run_id`:
    the run whose report shows the results under the label, if one does.

    Raises:
        EngineError: the model cannot be loaded, or lm-eval died.
        ConfigError, InputError: the model or its chat format cannot be used.
    """
    database, wanted = workspace.database, plan.wanted
    stored = set(plan.stored)
    missing = {each.benchmark_id: each for each in plan.missing}
    without: list[str] = []

    def keep(result: BenchmarkResult) -> None:
        storage.save_benchmark(database, missing[result.key], result)
        stored.add(result.key)
        without.extend(result.without)
        on_progress(len(stored), len(wanted))

    on_progress(len(stored), len(wanted))
    try:
        failures = _ask(workspace, config, model, plan.harness, missing, keep) if missing else []
    finally:
        if run_id is not None:
            shown = [each.benchmark_id for each in wanted if each.benchmark_id in stored]
            storage.show_in_run(database, run_id, label, shown)
    reasons = {"no result": len(failures)} if failures else {}
    return Benchmarked(StageCounts(len(wanted), len(stored), reasons), tuple(failures), tuple(without))


def _ask(
    workspace: Workspace,
    config: PipelineConfig,
    model: Path,
    harness: HarnessPython,
    missing: Mapping[str, Benchmark],
    keep: Callable[[BenchmarkResult], None],
) -> list[TaskFailure]:
    settings, whole = config.evaluation.harness, whole_model(workspace, model)
    require_model(whole, ModelRole.POLICY)
    variables, think_end = asking(config, model)
    fingerprint = next(iter(missing.values())).model
    request = Request(
        model=whole,
        output=workspace.scratch("benchmarks") / fingerprint[:_KEY_LENGTH],
        tasks={each.task: key for key, each in missing.items()},
        engine=settings.engine,
        dtype=checkpoint_dtype(whole),
        include_path=settings.include_path,
        limit=settings.limit,
        num_fewshot=settings.num_fewshot,
        chat_template=_uses_template(config, model),
        template_variables=variables,
        think_end=think_end,
        seed=settings.seed,
        batch_size=settings.batch_size,
        gpu_memory_share=config.generation.gpu_memory_share,
        tensor_parallel=config.generation.vllm.tensor_parallel,
    )
    return run_harness(
        request,
        harness,
        download=settings.download,
        threads=threads_for(weights_bytes(whole)),
        log_path=workspace.logs / f"benchmark-{fingerprint[:_KEY_LENGTH]}.log",
        on_result=keep,
    )


def planned(
    workspace: Workspace, config: PipelineConfig, model: Path, harness: HarnessPython
) -> list[Benchmark]:
    """What a model is to be asked, in the order of the settings; equal work has equal ids.

    Raises: see `plan_benchmarks`.
    """
    settings = config.evaluation.harness
    fingerprint = model_fingerprint(model, workspace.fingerprints)
    known, files = Survey(), ""
    if settings.include_path is not None or settings.engine == VLLM:
        known = look_up(harness, settings.tasks, settings.include_path)
    if settings.include_path is not None and known.own:
        files = tasks_hash(settings.include_path)
    shared = _settings_in_id(config, model)
    found = []
    for name in settings.tasks:
        decides = {**shared, "files": files} if name in known.own else dict(shared)
        if settings.engine == VLLM and name in known.silent:
            decides["decoding"] = "greedy"  # results without it were sampled
        key = ids.benchmark_id(
            model=fingerprint, harness=harness.release, task=name, engine=settings.engine, settings=decides
        )
        found.append(Benchmark(key, fingerprint, harness.release, name, settings.engine, decides))
    return found


def _settings_in_id(config: PipelineConfig, model: Path) -> dict[str, object]:
    settings = config.evaluation.harness
    variables, think_end = asking(config, model)
    optional = {
        "limit": settings.limit,
        "num_fewshot": settings.num_fewshot,
        "seed": settings.seed,
        "template_variables": variables or None,
        "think_end": think_end,
    }
    given = {name: value for name, value in optional.items() if value is not None}
    return {"chat_template": _uses_template(config, model), **given}


def _uses_template(config: PipelineConfig, model: Path) -> bool:
    wanted = config.evaluation.harness.chat_template
    if wanted == "auto":
        return not generation_chat(config.generation, model).fallback_template
    return wanted


def asking(config: PipelineConfig, model: Path) -> tuple[dict[str, object], str | None]:
    """What the chat template gets, and the mark at the end of a thought; nothing without the template."""
    if not _uses_template(config, model):
        return {}, None
    thoughts = thoughts_of(generation_chat(config.generation, model))
    thinks = thoughts is not None and thoughts.in_template and config.generation.thinking != "off"
    return template_variables(config.generation), thoughts.closing if thoughts and thinks else None

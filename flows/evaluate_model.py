"""The last part of a run: models answer the held-out prompts, and their answers are judged."""

from collections.abc import Mapping
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.config import GenerationConfig, PipelineConfig
from figa_core.config.section import Section
from figa_core.config.serving import ServingConfig
from figa_core.errors import InputError
from figa_core.records import Split
from figa_core.report.comparison import verdict_on
from figa_core.report.data import ReportData
from figa_core.storage.evaluations import evaluations_of
from figa_core.storage.scores import responses_of
from figa_core.training.checkpoints import check_exported
from figa_core.training.objectives.registry import label_of, objective_names
from flows.benchmarking import benchmark_models
from flows.preferring import prefer_answers
from flows.progress import current
from flows.run.alarms import announce_evaluation_alarm
from flows.run.artifacts import publish_report
from flows.run.open_run import OpenRun, visit_run
from flows.run.parameters import absolute
from flows.run.story import Story
from flows.run.verdict import failed_by_its_model, require_not_worse
from flows.scoring import score_texts
from flows.server.elsewhere import started_by_worker
from flows.stored import stored_config
from tasks.alarms import judge_alarms
from tasks.evaluate import evaluate, held_out_sampling
from tasks.generate import Sampling, generate, generator_id
from tasks.prefer import Side, is_judged
from tasks.report import report, time_of_report
from tasks.results import StageCounts
from tasks.stored_thoughts import check_comparable
from tasks.tracking import track_results
from tasks.train import BASE_LABEL
from tasks.verdict_files import add_separate_verdict
from tasks.workspace import Workspace


def _run_name() -> str:
    parameters = flow_run.parameters
    workspace, model = Path(parameters["workspace"]), Path(parameters["model"])
    return f"{workspace.name}: evaluate {parameters.get('label') or _label_of(model, workspace)}"


@flow(name="evaluate-model", flow_run_name=_run_name, persist_result=False)
@failed_by_its_model
async def evaluate_model(
    workspace: Path, model: Path, label: str | None = None, run_id: str | None = None
) -> ReportData:
    """Judge a model on the held-out prompts of a stored run, and write the run's report again.

    Args:
        workspace: Directory of the workspace.
        model: Hugging Face directory of the model to judge, such as WORKSPACE/trainings/ID/model.
        label: Its name in the report; by default its directory, relative to the workspace.
        run_id: Id of the run whose prompts and settings to use; by default the latest.

    Raises:
        ConfigError: a path is not valid.
        InputError: there is no such workspace, run or model, or the label is another model's.
        WorkspaceBusyError: a run holds the workspace. This flow does not wait for it: that run may be
            waiting for the pool that this flow occupies.
        TrainingError: the files of a trained model have changed since they were written.
        WorseModelError: the model is worse than the run's base. All is stored, and the report is written.
        FigaError: what was wrong, where, and what to do; what was done before is stored.
    """
    workspace, model = absolute("workspace", workspace), absolute("model", model)
    check_exported(model)
    config, progress = _by_itself(stored_config(workspace, run_id)), current()
    with visit_run(config, flow_run.name or "evaluate-model", progress) as run:
        story = Story(progress)
        label = label or _label_of(model, workspace)
        _check_label(run, config, label, model)
        await judge(story, run, config, {label: model})
        data = await report_run(story, run)
        track(story, run, config, data)
        judged = next((each for each in data.models if each.label == label), None)
        if judged is not None:
            add_separate_verdict(model, data, verdict_on(data.base, judged))
        require_not_worse(data, judged, data)
    return data


def _by_itself(config: PipelineConfig) -> PipelineConfig:
    """The config for a run that waits for nobody: on the pool `gpu` it would wait for its own place."""
    changes: dict[str, Section] = {"workspace": config.workspace.model_copy(update={"lease_timeout_s": 0.0})}
    if started_by_worker():
        here = {"workers": None, "serving": ServingConfig()}
        changes["generation"] = config.generation.model_copy(update=here)
    return config.model_copy(update=changes)


def _label_of(model: Path, workspace: Path) -> str:
    return str(model.relative_to(workspace) if model.is_relative_to(workspace) else model)


def _check_label(run: OpenRun, config: PipelineConfig, label: str, model: Path) -> None:
    """Raises InputError if the report shows another model under this label."""
    generator = generator_id(run.workspace, config.generation, held_out_sampling(config.evaluation, model))
    rows = evaluations_of(run.workspace.database, run.run_id)
    taken = {row.generator_id for row in rows if row.label == label} - {generator}
    reserved = {BASE_LABEL, *(label_of(objective) for objective in objective_names())}
    if taken or (label in reserved and not any(row.label == label for row in rows)):
        raise InputError(
            f"label {label!r}: the report of {run.run_id} uses it for another model, or reserves it for one. "
            "Choose another label."
        )


async def judge(story: Story, run: OpenRun, config: PipelineConfig, models: Mapping[str, Path]) -> None:
    """Sample models on the held-out prompts, score the samples and store the means; `models` by label.

    All models sample before the first is scored, so that the reward model is loaded once.

    Raises:
        EvaluationError: see `check_comparable`.
    """
    at, engines, longest = (run.workspace, run.run_id), run.engines, config.prompts.max_prompt_tokens
    generators = {}
    for label, model in models.items():
        sampling = held_out_sampling(config.evaluation, model)
        generators[label] = generator_id(run.workspace, config.generation, sampling)
    check_comparable(*at, config, generators)
    for label, model in models.items():
        sampling = held_out_sampling(config.evaluation, model)
        with story.stage(f"evaluate {label}: generate") as stage:
            stage.counts = generate(
                *at, config.generation, sampling, longest, engines=engines, on_progress=stage.on_progress
            )
    for label, generator in generators.items():
        texts = responses_of(run.run_id, generator, Split.HELD_OUT)
        await score_texts(story, run, config, run.rewards.judge, texts, f"evaluate {label}: score")
    for label, generator in generators.items():
        with story.stage(f"evaluate {label}") as stage:
            stage.counts = evaluate(
                *at,
                config.evaluation,
                label,
                generator,
                run.rewards.judge.scorer,
                on_progress=stage.on_progress,
            )
    trained = [label for label in generators if label != BASE_LABEL]
    if is_judged(config):
        base = generator_id(*_base(run, config))
        for label in trained:
            await prefer_answers(story, run, config, Side(BASE_LABEL, base), Side(label, generators[label]))
    benchmark_models(story, run, config, models)
    for label in trained:
        for alarm in judge_alarms(*at, config, label):
            story.progress.line(f"warning: alarm: {label}: {alarm.text}")
            announce_evaluation_alarm(run.run_id, label, alarm)


def _base(run: OpenRun, config: PipelineConfig) -> tuple[Workspace, GenerationConfig, Sampling]:
    """How the base's held-out answers are sampled."""
    sampling = held_out_sampling(config.evaluation, config.generation.model)
    return run.workspace, config.generation, sampling


async def report_run(story: Story, run: OpenRun) -> ReportData:
    """Write the run's report from all that is stored, and show it in the Prefect UI."""
    with story.stage("report") as stage:
        data = report(run.workspace, run.run_id, created_at=time_of_report())
        stage.counts = StageCounts(1, 1)
    await publish_report(run, data)
    return data


def track(story: Story, run: OpenRun, config: PipelineConfig, data: ReportData) -> None:
    """Send what was found out about the models to the trackers of their trainings, if there are any."""
    if config.tracking.to:
        with story.stage("track") as stage:
            found = track_results(run.workspace, config.tracking, data)
            stage.counts = StageCounts(found, found)

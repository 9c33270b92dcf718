"""The second part of a run: a shard set becomes a trained model, on the GPU pool if there is one.

A training's id is a hash of its content. A second request for it, from another run, a person or an
automation, gets the existing result; two requests at once wait for each other.
"""

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.config import AlarmsConfig, LossConfig, PipelineConfig, TrackingConfig, TrainingConfig
from figa_core.errors import ConfigError, FigaError, TrainingError
from figa_core.findings import problems_text
from figa_core.ports import ProgressCallback
from figa_core.processes import interruption
from figa_core.tracking.extras import missing
from figa_core.training import learning_rate
from figa_core.training.failures import divergence
from figa_core.training.job import TrainingJob, TrainingSpec, training_spec
from figa_core.training.nodes.board import OtherNodes
from figa_core.training.objectives.registry import label_of
from figa_core.training.step_size import SETTING
from flows.checks.artifacts import TOGETHER
from flows.further_nodes import further_nodes
from flows.progress import current
from flows.run.alarms import announce_alarm
from flows.run.apart import apart
from flows.run.artifacts import publish_curve
from flows.run.open_run import OpenRun
from flows.run.parameters import absolute
from flows.run.story import Story, showing_stage
from flows.server.elsewhere import is_deployed, run_elsewhere, started_by_worker
from flows.server.names import GPU_POOL, TRAIN_MODEL
from flows.server.own_worker import check_own_worker
from flows.server.run_log import library_logs
from tasks.artifacts import Artifacts
from tasks.results import StageCounts
from tasks.sweep import about_rate, note_sweep, settled, sweep, sweep_file, with_rate
from tasks.train import (
    BASE_LABEL,
    TrainedModel,
    is_finished,
    record_training,
    steps_line,
    train,
    training_job,
)
from tasks.weigh import WeighResult
from tasks.workspace import Workspace

SAME_PATH = (
    "The workspace must have the same path for the workers of both pools: put it on a disk that they share, "
    "or name a store that they all reach (storage.artifacts)."
)


def _run_name() -> str:
    fields = TrainingSpec.model_fields
    return run_name_of(
        TrainingSpec.model_validate({k: v for k, v in flow_run.parameters.items() if k in fields})
    )


def run_name_of(spec: TrainingSpec) -> str:
    """Such as "support: train FIGA from llama-1b", with what tells the trainings of a comparison apart."""
    workspace = Workspace.of_shards(spec.shards).directory
    name = f"{workspace.name}: train {label_of(spec.loss.objective)} from {spec.model.name}"
    if spec.pairs_limit is None:
        return name
    return (
        f"{name}, {spec.pairs_limit:,} pairs, rate {spec.training.learning_rate}, seed {spec.training.seed}"
    )


@flow(name="train-model", flow_run_name=_run_name, persist_result=False)
async def train_model(
    shards: Path,
    model: Path,
    loss: LossConfig = LossConfig(),  # noqa: B008 - frozen
    training: TrainingConfig = TrainingConfig(),  # noqa: B008 - frozen
    alarms: AlarmsConfig = AlarmsConfig(),  # noqa: B008 - frozen
    tracking: TrackingConfig = TrackingConfig(),  # noqa: B008 - frozen
    artifacts: str | None = None,
    pairs_limit: int | None = None,
) -> TrainedModel:
    """Train a model on a shard set that a `build-dataset` or `figa` run wrote.

    Args:
        shards: Directory of the shard set, WORKSPACE/shards/ID. The result is written to WORKSPACE/trainings.
        model: Hugging Face directory of the model to start from, for which the shards were made.
        loss: The objective and its token weights.
        training: How the training runs.
        alarms: Signs that the training damages the model, and which of them end it.
        tracking: Experiment trackers that follow the training.
        artifacts: URL of the workspace's store, if this machine does not share its disk.
        pairs_limit: Train on this many pairs of the set, drawn by the seed; empty for all.

    Raises:
        ConfigError: a path is not valid, a tracker's library is not installed, or this worker has another
            version or a wrong clock.
        TrainingError: the shard set is not complete or does not fit the model, or the training stopped.
        InputError: there is no model.
        WorkspaceError: the workspace or its store cannot be read or written.
    """
    if started_by_worker():
        check_own_worker()
    if problems := missing(tracking.to):
        raise ConfigError(problems_text([f"tracking.to: {each}" for each in problems]))
    spec = TrainingSpec(
        shards=absolute("shards", shards),
        model=absolute("model", model),
        loss=loss,
        training=training,
        alarms=alarms,
        pairs_limit=pairs_limit,
        tracking=tracking,
        artifacts=artifacts,
    )
    return await _train(Workspace.of_shards(spec.shards), spec)


async def _train(workspace: Workspace, spec: TrainingSpec) -> TrainedModel:
    workspace.check_writable()
    store = store_of(workspace, spec)
    if store is not None:
        _fetch_inputs(store, workspace, spec)
    nodes = 1 if _is_done(workspace, spec) else spec.training.nodes
    async with further_nodes(workspace, nodes, run_name_of(spec)) as others:
        job = training_job(workspace, _with_rate_stored(store, workspace, spec, others))
        note_sweep(workspace, spec, job)
        title = f"train {label_of(job.objective)}"
        with library_logs(), interruption.doing(title), showing_stage(current(), title) as on_progress:
            try:
                with _sent(store, job):
                    return train(
                        job,
                        workspace.training_log(job.objective, job.training_id),
                        on_progress=on_progress,
                        on_alarm=partial(announce_alarm, job),
                        others=others,
                    )
            finally:
                await publish_curve(job)


def store_of(workspace: Workspace, spec: TrainingSpec) -> Artifacts | None:
    """The store of the workspace, if it has one. Raises ConfigError if its library is missing."""
    return Artifacts.of(workspace, spec.artifacts, lambda text: current().line(text))


def _fetch_inputs(store: Artifacts, workspace: Workspace, spec: TrainingSpec) -> None:
    if spec.training.nodes > 1:
        raise ConfigError(f"training.nodes: {TOGETHER}")
    store.fetch_shards(spec.shards)
    store.fetch_model(spec.model)
    if (found := sweep_file(workspace, spec)) is not None:
        store.fetch_file(found)


def _with_rate_stored(
    store: Artifacts | None, workspace: Workspace, spec: TrainingSpec, others: OtherNodes | None
) -> TrainingSpec:
    """As `_with_rate_found`; with a store, one machine sweeps and the others get its result."""
    file = sweep_file(workspace, spec)
    if store is None or file is None:
        return _with_rate_found(workspace, spec, others)
    with store.working_on(file.parent):
        store.fetch_file(file)
        found = _with_rate_found(workspace, spec, others)
        store.send_file(file)
    return found


def _send_inputs(store: Artifacts, spec: TrainingSpec) -> None:
    store.send_shards(spec.shards)
    store.send_model(spec.model)


def _sent(store: Artifacts | None, job: TrainingJob) -> AbstractContextManager[None]:
    """While a training is under way, what it writes goes to the store, if there is one."""
    return nullcontext() if store is None else store.training(job.output)


def _is_done(workspace: Workspace, spec: TrainingSpec) -> bool:
    """Whether its result is there, so that no other machine is needed."""
    found = settled(workspace, spec)
    return found is not None and is_finished(training_job(workspace, found))


def _with_rate_found(workspace: Workspace, spec: TrainingSpec, others: OtherNodes | None) -> TrainingSpec:
    """The training with a learning rate, for which a sweep is made if the settings leave it to one."""
    title = f"try learning rates for {label_of(spec.loss.objective)}"
    with library_logs():
        if (found := settled(workspace, spec)) is not None:
            return found
        with interruption.doing(title), showing_stage(current(), title) as on_progress:
            log = _sweep_log(workspace, spec)
            tried = sweep(workspace, spec, log, on_progress=on_progress, others=others)
    return with_rate(spec, tried.chosen)


async def train_models(
    story: Story, run: OpenRun, config: PipelineConfig, weighed: WeighResult
) -> dict[str, Path]:
    """Train one model for each objective of this run; returns them and the base model by label.

    A baseline that diverges, or that an alarm ends before it has a good step, is left out with a warning.

    Raises:
        TrainingError: the main training did so, or one failed otherwise.
    """
    models = {BASE_LABEL: config.generation.model}
    run.engines.end()  # the training needs the memory
    if line := about_updates(config.training, weighed.counts.n_out, run.warned):
        story.progress.line(line)
    for objective in (config.loss.objective, *config.evaluation.baselines):
        asked = training_spec(config, weighed.shards_for(objective), objective)
        spec = await _settle_rate(story, run, asked)
        job = training_job(run.workspace, spec)
        note_sweep(run.workspace, asked, job)
        trained = await _trained(story, run, spec, job, is_baseline=objective != config.loss.objective)
        if trained is None:
            continue
        record_training(run.workspace, run.run_id, job, trained)
        run.warnings.extend(f"{label_of(objective)}: {alarm}" for alarm in trained.alarms)
        await publish_curve(job)
        models[label_of(objective)] = trained.directory
    return models


async def _trained(
    story: Story, run: OpenRun, spec: TrainingSpec, job: TrainingJob, *, is_baseline: bool
) -> TrainedModel | None:
    """The model; None for a baseline that has none, which is not tried again."""
    label = label_of(spec.loss.objective)
    reason = divergence(job.output) if is_baseline else None
    if reason is None:
        try:
            with story.stage(f"train {label}") as stage:
                log = run.workspace.training_log(job.objective, job.training_id)
                trained = await train_where_deployed(job, spec, log, on_progress=stage.show)
                stage.counts = trained.counts
            return trained
        except FigaError:
            reason = divergence(job.output) if is_baseline else None
            if reason is None:
                raise
    run.warnings.append(f"{label} is not compared: {reason}")
    return None


async def _settle_rate(story: Story, run: OpenRun, spec: TrainingSpec) -> TrainingSpec:
    """The training with a number as its learning rate, from a sweep if it is left to one."""
    workspace, label = run.workspace, label_of(spec.loss.objective)
    found = settled(workspace, spec)
    if found is None:
        with story.stage(f"try learning rates for {label}") as stage:
            if await trains_elsewhere():  # there the training follows at once
                store = store_of(workspace, spec)
                if store is not None:
                    await apart(_send_inputs, store, spec)
                await run_elsewhere(TRAIN_MODEL, run_name_of(spec), spec.parameters(), pool=GPU_POOL)
                if store is not None and (tried := sweep_file(workspace, spec)) is not None:
                    await apart(store.fetch_file, tried)
            else:
                sweep(workspace, spec, _sweep_log(workspace, spec), on_progress=stage.show)
            if (found := settled(workspace, spec)) is None:
                raise TrainingError(
                    f"{TRAIN_MODEL} completed, but {workspace.directory} holds no finished sweep here. "
                    f"{SAME_PATH}"
                )
            stage.counts = StageCounts(len(learning_rate.rates_to_try(1)), 1)
    if line := about_rate(workspace, spec):
        story.progress.line(f"{label}: {line}")
    return found


def _sweep_log(workspace: Workspace, spec: TrainingSpec) -> Path:
    return workspace.logs / f"sweep-{spec.loss.objective}.log"


def about_updates(training: TrainingConfig, pairs: int, warned: Collection[str]) -> str | None:
    """The line about few or automatic updates, unless the checks have already `warned` of it."""
    return None if SETTING in warned else steps_line(training, pairs)


async def trains_elsewhere() -> bool:
    """Whether trainings go to the GPU pool."""
    return started_by_worker() or await is_deployed(TRAIN_MODEL)


async def train_where_deployed(
    job: TrainingJob, spec: TrainingSpec, log: Path, *, on_progress: ProgressCallback
) -> TrainedModel:
    """Train on the GPU pool if there is one, otherwise in this process."""
    store = store_of(Workspace.of_training(job.output), spec)
    if store is not None:
        await apart(store.fetch_result, job.output)
    if store is not None and not is_finished(job):
        await apart(_send_inputs, store, spec)
    if not is_finished(job) and await trains_elsewhere():
        try:
            await run_elsewhere(TRAIN_MODEL, run_name_of(spec), spec.parameters(), pool=GPU_POOL)
        except FigaError:
            if store is not None:
                await apart(store.fetch_result, job.output)  # its figures, and why it failed
            raise
        if store is not None:
            await apart(store.fetch_result, job.output)
        if not is_finished(job):  # do not train here instead: this machine was not chosen for it
            raise TrainingError(
                f"{TRAIN_MODEL} completed, but {job.output} holds no finished training here. {SAME_PATH}"
            )
    with _sent(store if not is_finished(job) else None, job):
        return train(job, log, on_progress=on_progress, on_alarm=partial(announce_alarm, job))

"""Stage train: a shard set → a trained Hugging Face model, by DeepSpeed ranks under torchrun."""

from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.config import TrainingConfig
from figa_core.errors import TrainingError
from figa_core.models.fingerprint import model_fingerprint
from figa_core.ports import ProgressCallback
from figa_core.shards.manifest import ShardManifest, read_manifest
from figa_core.storage.runs import Findings, save_findings
from figa_core.storage.trainings import Training, save_training
from figa_core.training import checkpoints
from figa_core.training.batches import steps_per_epoch
from figa_core.training.checkpoints import TrainingManifest
from figa_core.training.held_out import check_apart, pairs_apart
from figa_core.training.job import TrainingJob, TrainingSpec
from figa_core.training.launch import AlarmCallback, ignore_alarm, run_training
from figa_core.training.nodes.board import Board, OtherNodes
from figa_core.training.objectives.registry import label_of, make_objective, objective_named
from figa_core.training.reference_log_probs import directory_of
from figa_core.training.step_size import about_steps, number_of_epochs, pairs_per_step
from figa_core.training.top_tokens import TOP_TOKENS
from tasks.results import StageCounts, no_progress
from tasks.tracking import tracking
from tasks.whole_models import whole_model
from tasks.workspace import Workspace

BASE_LABEL = "base"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A finished training; `counts` are its steps and its steps with an update.

    `seconds` is its wall time, including all resumptions. `steps` of those planned were made: fewer than all
    if one of the `alarms` (in words) ended it.
    """

    objective: str
    training_id: str
    directory: Path
    counts: StageCounts
    seconds: float
    steps: int
    alarms: tuple[str, ...] = ()


def trained_pairs(config: TrainingConfig, pairs: int) -> int:
    """How many of the `pairs` are trained on; the others are kept apart to judge the training."""
    return pairs - pairs_apart(config.held_out, pairs)


def steps_of(config: TrainingConfig, pairs: int) -> int:
    """Optimizer steps of `epochs` passes, at most `max_steps`; the last step of a pass may be smaller."""
    steps = epochs_of(config, pairs) * steps_per_epoch(pairs, step_size(config, pairs))
    return min(steps, config.max_steps or steps)


def epochs_of(config: TrainingConfig, pairs: int) -> int:
    """The passes over all `pairs`."""
    return number_of_epochs(config.epochs, pairs=pairs, size=config.pairs_per_step)


def step_size(config: TrainingConfig, pairs: int) -> int:
    """The pairs of one optimizer step, given all `pairs`."""
    return pairs_per_step(config.pairs_per_step, pairs=pairs, epochs=config.epochs)


def steps_line(config: TrainingConfig, pairs: int) -> str | None:
    """A line for people about the number of updates, if there is something to say; see `about_steps`."""
    trained = trained_pairs(config, pairs)
    return about_steps(config.pairs_per_step, pairs=trained, epochs=config.epochs, max_steps=config.max_steps)


def _filled_steps_of(config: TrainingConfig, pairs: int) -> int:
    """The steps in release 0.1, which filled the last step of an epoch with pairs of the next one."""
    steps = ceil(epochs_of(config, pairs) * pairs / step_size(config, pairs))
    return min(steps, config.max_steps or steps)


@task(name="train", task_run_name="train {job.objective}", cache_policy=NO_CACHE)
def train(
    job: TrainingJob,
    log_path: Path,
    *,
    on_progress: ProgressCallback = no_progress,
    on_alarm: AlarmCallback = ignore_alarm,
    others: OtherNodes | None = None,
) -> TrainedModel:
    """Train, resume an interrupted training, or return the result of a finished one with this id.

    It does not open the database, so it may run on another machine than the one that holds the workspace.
    `on_alarm` gets every new alarm once. `others` are the further nodes, which `figa join` serves by default.

    Raises:
        TrainingError: the shards do not fit the model, or the training stopped.
    """
    with tracking(job):
        done = run_training(
            job,
            on_step=lambda step: on_progress(step.step, job.steps),
            on_alarm=on_alarm,
            log_path=log_path,
            others=others or other_nodes(Workspace.of_training(job.output)),
        )
    return _trained(job, done)


def other_nodes(workspace: Workspace) -> OtherNodes:
    """The further nodes of a workspace's trainings, if nobody has started them for these."""
    return OtherNodes(Board(workspace.nodes_board))


def trained_model(job: TrainingJob) -> TrainedModel:
    """The result of a finished training. Raises TrainingError if it is not finished."""
    manifest = checkpoints.read_manifest(job.output)
    if manifest is None:
        raise TrainingError(f"{job.output}: holds no finished training. Start it again.")
    return _trained(job, manifest)


def _trained(job: TrainingJob, done: TrainingManifest) -> TrainedModel:
    reason = "after the last good step" if done.ended_by else "after the result's step, by held-out pairs"
    left = {reason: job.steps - done.steps} if done.steps < job.steps else {}
    counts = StageCounts(job.steps, done.steps - done.skipped_steps, left)
    return TrainedModel(
        job.objective,
        job.training_id,
        job.model_dir,
        counts,
        done.wall_seconds,
        steps=done.steps,
        alarms=tuple(f"{alarm.text}{f'; {alarm.way_back}' if alarm.stops else ''}" for alarm in done.alarms),
    )


def training_job(workspace: Workspace, spec: TrainingSpec) -> TrainingJob:
    """The job of a training; equal trainings have equal ids.

    Raises:
        TrainingError: `spec.shards` has no complete shard set, no step would change the weights, or too few
            pairs would be kept apart.
        InputError: `spec.model` is not a model directory, or an adapter of another base model.
        EngineError: `spec.model` is an adapter, and cannot be merged.
    """
    manifest = read_manifest(spec.shards)
    if manifest is None:
        raise TrainingError(
            f"{spec.shards}: no complete shard set here. Build one with the `build-dataset` deployment or "
            "`figa run`, then give its directory, WORKSPACE/shards/ID."
        )
    objective = objective_named(spec.loss.objective)
    limit = spec.pairs_limit if spec.pairs_limit is not None and spec.pairs_limit < manifest.pairs else None
    pairs = limit or manifest.pairs
    check_apart(spec.training.held_out, pairs)
    trained_on = trained_pairs(spec.training, pairs)
    settled_training = {
        "pairs_per_step": step_size(spec.training, trained_on),
        "epochs": epochs_of(spec.training, trained_on),
    }
    settled = TrainingSpec(
        shards=spec.shards,
        model=whole_model(workspace, spec.model),
        loss=objective.settled(spec.loss),
        training=spec.training.model_copy(update=settled_training),
        alarms=spec.alarms,
        tracking=spec.tracking,
        pairs_limit=limit,
    )
    model, shards = model_fingerprint(settled.model, workspace.fingerprints), manifest.shard_set_id
    trained = make_objective(settled.loss)
    log_probs_id = ids.reference_log_probs_id(
        model=model,
        shards=shards,
        answers=trained.reference_answers,
        top_tokens=TOP_TOKENS if trained.held_to_base else 0,
    )
    training_id, steps = _identify(workspace, settled, model, manifest)
    if steps == 1 and spec.training.schedule.warmup_share:
        raise TrainingError(
            "training.schedule.warmup_share: the training has one step, and the first of a warm-up has the "
            "learning rate 0. Set the share to 0, or train for more steps."
        )
    return TrainingJob(
        **dict(settled),
        training_id=training_id,
        output=workspace.training(training_id),
        steps=steps,
        reference_log_probs=directory_of(spec.shards, log_probs_id) if trained.reference_answers else None,
        base_fingerprint=None if spec.training.lora.rank is None else model,
    )


def _identify(
    workspace: Workspace, spec: TrainingSpec, model: str, manifest: ShardManifest
) -> tuple[str, int]:
    """Id and steps of the training; those of release 0.1 if its training is finished here."""
    name = partial(ids.training_id, model=model, shards=manifest.shard_set_id, settings=spec.settings_in_id())
    config = spec.training
    pairs = trained_pairs(config, spec.pairs_limit or manifest.pairs)
    steps, size = steps_of(config, pairs), step_size(config, pairs)
    if pairs % size == 0 or steps <= pairs // size:
        return name(steps=steps), steps  # all steps have the same size
    filled = _filled_steps_of(config, pairs)
    earlier = name(steps=filled)
    if checkpoints.read_manifest(workspace.training(earlier)) is not None:
        return earlier, filled
    return name(steps=steps, smaller_last_steps=True), steps


def is_finished(job: TrainingJob) -> bool:
    """Whether this training has finished."""
    return checkpoints.read_manifest(job.output) is not None


def record_training(
    workspace: Workspace, run_id: str, job: TrainingJob, trained: TrainedModel, *, of_run: bool = True
) -> None:
    """Store a finished training, wherever it ran; the caller holds the workspace.

    `of_run`: it is the run's own training of this objective, which its report shows.
    """
    row = Training(
        training_id=job.training_id,
        run_id=run_id,
        objective=job.objective,
        shard_set_id=job.shards.name,
        parent_model=model_fingerprint(job.model, workspace.fingerprints),
        directory=str(job.output),
        steps=trained.steps,
        seconds=trained.seconds,
    )
    save_training(workspace.database, row, model_fingerprint(trained.directory, workspace.fingerprints))
    found = Findings(
        trainings={job.objective: job.training_id}, alarms={label_of(job.objective): trained.alarms}
    )
    if of_run:
        save_findings(workspace.database, run_id, found)

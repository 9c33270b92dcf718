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
from figa_core.training.job import TrainingJob, TrainingSpec
from figa_core.training.launch import run_training
from figa_core.training.objectives.base import Objective
from figa_core.training.objectives.registry import objective_named
from figa_core.training.reference_log_probs import directory_of
from figa_core.training.step_size import about_steps, pairs_per_step
from tasks.results import StageCounts, no_progress
from tasks.workspace import Workspace

BASE_LABEL = "base"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A finished training: where its model is, and its counts (steps asked for, steps with an update).

    `seconds` is its wall time, over all resumptions.
    """

    objective: str
    training_id: str
    directory: Path
    counts: StageCounts
    seconds: float


def steps_of(config: TrainingConfig, pairs: int) -> int:
    """Optimizer steps: `epochs` passes over the pairs, the last step of each pass may be smaller; at most
    `max_steps`.
    """
    return _at_most(config.max_steps, config.epochs * steps_per_epoch(pairs, step_size(config, pairs)))


def step_size(config: TrainingConfig, pairs: int) -> int:
    """Pairs of one optimizer step, of so many in all."""
    return pairs_per_step(config.pairs_per_step, pairs=pairs, epochs=config.epochs)


def steps_line(config: TrainingConfig, pairs: int) -> str | None:
    """What people should know about the number of updates, if anything; see `about_steps`."""
    return about_steps(config.pairs_per_step, pairs=pairs, epochs=config.epochs, max_steps=config.max_steps)


def _filled_steps_of(config: TrainingConfig, pairs: int) -> int:
    """The steps of a release that filled the last step of an epoch with pairs of the next one."""
    return _at_most(config.max_steps, ceil(config.epochs * pairs / step_size(config, pairs)))


def _at_most(most: int | None, steps: int) -> int:
    return steps if most is None else min(steps, most)


@task(name="train", task_run_name="train {job.objective}", cache_policy=NO_CACHE)
def train(job: TrainingJob, log_path: Path, *, on_progress: ProgressCallback = no_progress) -> TrainedModel:
    """Train, resume what was interrupted, or return what a finished training of this id left.

    It opens no database, so that it may run on another machine than the one that holds the workspace.

    Raises:
        TrainingError: the shards do not fit the model, or the training stopped.
    """
    done = run_training(job, on_step=lambda step: on_progress(step.step, job.steps), log_path=log_path)
    counts = StageCounts(job.steps, done.steps - done.skipped_steps)
    return TrainedModel(job.objective, job.training_id, job.model_dir, counts, done.wall_seconds)


def training_job(workspace: Workspace, spec: TrainingSpec) -> TrainingJob:
    """The job of a training, under the id of its content: equal trainings have equal ids.

    Raises:
        TrainingError: `spec.shards` holds no complete shard set.
        InputError: `spec.model` is no model directory.
    """
    manifest = read_manifest(spec.shards)
    if manifest is None:
        raise TrainingError(
            f"{spec.shards}: no complete shard set here. Build one with the `build-dataset` deployment or "
            "`figa run`, and give its directory, WORKSPACE/shards/ID."
        )
    objective = objective_named(spec.loss.objective)
    size = step_size(spec.training, manifest.pairs)
    settled = TrainingSpec(
        shards=spec.shards,
        model=spec.model,
        loss=objective.settled(spec.loss),
        training=spec.training.model_copy(update={"pairs_per_step": size}),
    )
    model = model_fingerprint(spec.model, workspace.fingerprints)
    training_id, steps = _identify(workspace, settled, model, manifest)
    return TrainingJob(
        **dict(settled),
        training_id=training_id,
        output=workspace.training(training_id),
        steps=steps,
        reference_log_probs=_reference_log_probs(objective, spec.shards, model, manifest),
    )


def _reference_log_probs(
    objective: type[Objective], shards: Path, model: str, manifest: ShardManifest
) -> Path | None:
    if not objective.reference_log_probs:
        return None
    log_probs_id = ids.reference_log_probs_id(
        model=model, shards=manifest.shard_set_id, answers=objective.answers
    )
    return directory_of(shards, log_probs_id)


def _identify(
    workspace: Workspace, spec: TrainingSpec, model: str, manifest: ShardManifest
) -> tuple[str, int]:
    """Id and steps of the training; those of an earlier release where that one is finished here."""
    name = partial(ids.training_id, model=model, shards=manifest.shard_set_id, settings=spec.settings_in_id())
    pairs, config = manifest.pairs, spec.training
    steps, size = steps_of(config, pairs), step_size(config, pairs)
    if pairs % size == 0 or steps <= pairs // size:
        return name(steps=steps), steps  # no step is smaller than the others
    filled = _filled_steps_of(config, pairs)
    earlier = name(steps=filled)
    if checkpoints.read_manifest(workspace.training(earlier)) is not None:
        return earlier, filled
    return name(steps=steps, smaller_last_steps=True), steps


def is_finished(job: TrainingJob) -> bool:
    """Whether this very training exists already."""
    return checkpoints.read_manifest(job.output) is not None


def record_training(workspace: Workspace, run_id: str, job: TrainingJob, trained: TrainedModel) -> None:
    """Store a finished training as this run's, wherever it was done; the caller holds the workspace."""
    row = Training(
        training_id=job.training_id,
        run_id=run_id,
        objective=job.objective,
        shard_set_id=job.shards.name,
        parent_model=model_fingerprint(job.model, workspace.fingerprints),
        directory=str(job.output),
        steps=trained.counts.n_in,
        seconds=trained.seconds,
    )
    save_training(workspace.database, row, model_fingerprint(trained.directory, workspace.fingerprints))
    save_findings(workspace.database, run_id, Findings(trainings={job.objective: job.training_id}))

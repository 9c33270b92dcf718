"""Stage train: a shard set → a trained Hugging Face model, by DeepSpeed ranks under torchrun."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.config import LossConfig, TrainingConfig
from figa_core.errors import TrainingError
from figa_core.models.fingerprint import model_fingerprint
from figa_core.ports import ProgressCallback
from figa_core.records import Objective
from figa_core.shards.manifest import read_manifest
from figa_core.storage.rows import TrainingRow
from figa_core.training import checkpoints
from figa_core.training.batches import steps_per_epoch
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.step_size import about_steps, pairs_per_step
from tasks.results import StageCounts, no_progress
from tasks.workspace import Workspace

BASE_LABEL = "base"
_LABELS = {
    Objective.FIGA: "FIGA",
    Objective.SFT: "SFT on Y",
    Objective.SFT_REVISED: "SFT on Ỹ",
    Objective.UNLIKELIHOOD: "unlikelihood",
}


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A finished training: where its model is, and its counts (steps asked for, steps with an update).

    `seconds` is its wall time, over all resumptions.
    """

    objective: Objective
    training_id: str
    directory: Path
    counts: StageCounts
    seconds: float


def label_of(objective: Objective) -> str:
    """What a model trained with this objective is called in reports."""
    return _LABELS[objective]


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
    result = run_training(job, on_step=lambda step: on_progress(step.step, job.steps), log_path=log_path)
    counts = StageCounts(job.steps, result.steps - result.skipped_steps)
    return TrainedModel(job.objective, job.training_id, result.model_dir, counts, result.wall_seconds)


def training_job(
    workspace: Workspace, shards: Path, model: Path, loss: LossConfig, config: TrainingConfig
) -> TrainingJob:
    """The job for a shard set, under the id of its content: equal trainings have equal ids.

    Raises:
        TrainingError: `shards` holds no complete shard set.
        InputError: `model` is no model directory.
    """
    manifest = read_manifest(shards)
    if manifest is None:
        raise TrainingError(
            f"{shards}: no complete shard set here. Build one with the `build-dataset` deployment or "
            "`figa run`, and give its directory, WORKSPACE/shards/ID."
        )
    loss = _only_what_counts(loss)
    fields = {
        "model": model_fingerprint(model, workspace.fingerprints),
        "shards": manifest.shard_set_id,
        "objective": loss.objective,
        "alpha": loss.alpha,
        "beta": loss.beta,
        "gamma": loss.gamma,
        "negative_nll_max": loss.negative_nll_max,
        "learning_rate": config.learning_rate,
        "pairs_per_step": step_size(config, manifest.pairs),
        "dtype": config.dtype,
        "seed": config.seed,
    }
    training_id, steps = _identify(workspace, fields, config, manifest.pairs)
    return TrainingJob(
        training_id=training_id,
        model=model,
        shards=shards,
        output=workspace.training(training_id),
        objective=loss.objective,
        alpha=loss.alpha,
        beta=loss.beta,
        gamma=loss.gamma,
        negative_nll_max=loss.negative_nll_max,
        learning_rate=config.learning_rate,
        steps=steps,
        pairs_per_step=step_size(config, manifest.pairs),
        tokens_per_batch=config.tokens_per_batch,
        zero_stage=config.zero_stage,
        processes=config.processes,
        dtype=config.dtype,
        checkpoint_steps=config.checkpoint_steps,
        seed=config.seed,
    )


def _identify(
    workspace: Workspace, fields: dict[str, Any], config: TrainingConfig, pairs: int
) -> tuple[str, int]:
    """Id and steps of the training; those of an earlier release where that one is finished here."""
    steps, size = steps_of(config, pairs), step_size(config, pairs)
    if pairs % size == 0 or steps <= pairs // size:
        return ids.training_id(**fields, steps=steps), steps  # no step is smaller than the others
    filled = _filled_steps_of(config, pairs)
    earlier = ids.training_id(**fields, steps=filled)
    if checkpoints.read_manifest(workspace.training(earlier)) is not None:
        return earlier, filled
    return ids.training_id(**fields, steps=steps, smaller_last_steps=True), steps


def is_finished(job: TrainingJob) -> bool:
    """Whether this very training exists already."""
    return checkpoints.read_manifest(job.output) is not None


def record_training(workspace: Workspace, run_id: str, job: TrainingJob, trained: TrainedModel) -> None:
    """Store a finished training as this run's, wherever it was done; the caller holds the workspace."""
    row = TrainingRow(
        training_id=job.training_id,
        run_id=run_id,
        objective=str(job.objective),
        shard_set_id=job.shards.name,
        parent_model=model_fingerprint(job.model, workspace.fingerprints),
        directory=str(job.output),
        steps=trained.counts.n_in,
        seconds=trained.seconds,
    )
    workspace.store.save_training(row, model_fingerprint(trained.directory, workspace.fingerprints))
    workspace.store.save_run_settings(run_id, {f"training.{job.objective}": job.training_id})


def _only_what_counts(loss: LossConfig) -> LossConfig:
    """SFT reads neither weights nor gate: the same SFT must have the same id whatever they are set to."""
    if loss.objective in (Objective.SFT, Objective.SFT_REVISED):
        return LossConfig(objective=loss.objective)
    if loss.objective is Objective.UNLIKELIHOOD:
        return loss.model_copy(update={"negative_nll_max": None})
    return loss

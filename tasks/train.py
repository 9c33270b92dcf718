"""Stage train: a shard set → a trained Hugging Face model, by DeepSpeed ranks under torchrun."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.config import LossConfig, TrainingConfig
from figa_core.fingerprint import model_fingerprint
from figa_core.ports import ProgressCallback
from figa_core.records import Objective, Stage
from figa_core.storage.rows import TrainingRow
from figa_core.training.job import TrainingJob
from figa_core.training.launch import TrainingResult, run_training
from tasks.results import StageResult, no_progress
from tasks.weigh import WeighResult
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
    """A finished training: where its model is, and its counts (steps asked for, steps with an update)."""

    objective: Objective
    training_id: str
    directory: Path
    result: StageResult


def label_of(objective: Objective) -> str:
    """What a model trained with this objective is called in reports."""
    return _LABELS[objective]


def steps_of(config: TrainingConfig, pairs: int) -> int:
    """Optimizer steps: `epochs` passes over the pairs, the last step may be smaller; at most `max_steps`."""
    steps = ceil(config.epochs * pairs / config.pairs_per_step)
    return steps if config.max_steps is None else min(steps, config.max_steps)


@task(name="train", task_run_name="train {loss.objective}", cache_policy=NO_CACHE)
def train(
    workspace: Workspace,
    run_id: str,
    weighed: WeighResult,
    model: Path,
    loss: LossConfig,
    config: TrainingConfig,
    *,
    on_progress: ProgressCallback = no_progress,
) -> TrainedModel:
    """Train `model`, resume what was interrupted, or return what a finished training of this id left.

    Raises:
        TrainingError: the shards do not fit the model, or the training stopped.
    """
    fingerprint = model_fingerprint(model, workspace.fingerprints)
    job = training_job(workspace, weighed, model, fingerprint, loss, config)
    result = run_training(
        job,
        on_step=lambda step: on_progress(step.step, job.steps),
        log_path=workspace.logs / f"train-{loss.objective}.log",
    )
    _record(workspace, run_id, weighed, job, fingerprint, result)
    counts = StageResult(Stage.TRAIN, job.steps, result.steps - result.skipped_steps)
    return TrainedModel(loss.objective, job.training_id, result.model_dir, counts)


def training_job(
    workspace: Workspace,
    weighed: WeighResult,
    model: Path,
    fingerprint: str,
    loss: LossConfig,
    config: TrainingConfig,
) -> TrainingJob:
    """The job, under the id of its content."""
    loss = _only_what_counts(loss)
    steps = steps_of(config, weighed.result.n_out)
    training_id = ids.training_id(
        model=fingerprint,
        shards=weighed.shard_set_id,
        objective=loss.objective,
        alpha=loss.alpha,
        beta=loss.beta,
        gamma=loss.gamma,
        negative_nll_max=loss.negative_nll_max,
        learning_rate=config.learning_rate,
        steps=steps,
        pairs_per_step=config.pairs_per_step,
        dtype=config.dtype,
        seed=config.seed,
    )
    return TrainingJob(
        training_id=training_id,
        model=model,
        shards=weighed.directory,
        output=workspace.training(training_id),
        objective=loss.objective,
        alpha=loss.alpha,
        beta=loss.beta,
        gamma=loss.gamma,
        negative_nll_max=loss.negative_nll_max,
        learning_rate=config.learning_rate,
        steps=steps,
        pairs_per_step=config.pairs_per_step,
        tokens_per_batch=config.tokens_per_batch,
        zero_stage=config.zero_stage,
        processes=config.processes,
        dtype=config.dtype,
        checkpoint_steps=config.checkpoint_steps,
        seed=config.seed,
    )


def _only_what_counts(loss: LossConfig) -> LossConfig:
    """SFT reads neither weights nor gate: the same SFT must have the same id whatever they are set to."""
    if loss.objective in (Objective.SFT, Objective.SFT_REVISED):
        return LossConfig(objective=loss.objective)
    if loss.objective is Objective.UNLIKELIHOOD:
        return loss.model_copy(update={"negative_nll_max": None})
    return loss


def _record(
    workspace: Workspace,
    run_id: str,
    weighed: WeighResult,
    job: TrainingJob,
    parent: str,
    result: TrainingResult,
) -> None:
    row = TrainingRow(
        training_id=job.training_id,
        run_id=run_id,
        objective=str(job.objective),
        shard_set_id=weighed.shard_set_id,
        parent_model=parent,
        directory=str(job.output),
        steps=result.steps,
        seconds=result.wall_seconds,
    )
    workspace.store.save_training(row, model_fingerprint(result.model_dir, workspace.fingerprints))
    workspace.store.save_run_settings(run_id, {f"training.{job.objective}": job.training_id})

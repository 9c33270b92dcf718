"""The models that `figa study shift` compares: those of the run, and those that `figa compare` kept of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from figa_core.config import PipelineConfig
from figa_core.shards.read import iter_tables
from figa_core.storage.runs import Run
from figa_core.storage.trainings import trainings_of
from figa_core.training import checkpoints
from figa_core.training.job import TrainingJob
from figa_core.training.objectives.registry import label_of, objective_named
from figa_core.training.selection import select_pairs
from tasks.judged_models import trained_model
from tasks.whole_models import whole_model
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class StudiedModel:
    """A trained model whose directory is there. `pairs`: what it was trained on; None if that is not known.

    `output` is the directory of its training, `model` that of the whole model.
    """

    label: str
    output: Path
    model: Path
    pairs: int | None


def studied_models(workspace: Workspace, run: Run, config: PipelineConfig) -> list[StudiedModel]:
    """The run's finished trainings, its main one first, and those of comparisons with equally many pairs.

    Only trainings on the run's own shard set are taken of comparisons, and not those by rewards.

    Raises:
        StorageError: a shard set is damaged.
        EngineError: a model is an adapter that cannot be merged.
    """
    objectives = dict.fromkeys((config.loss.objective, *config.evaluation.baselines))
    own = {run.found.trainings.get(each): each for each in objectives if trained_model(workspace, run, each)}
    jobs = [checkpoints.finished_job(workspace.training(each)) for each in own if each is not None]
    bases = {job.model.name for job in jobs if job is not None}
    found = [
        _studied(workspace, workspace.training(training_id), label_of(objective))
        for training_id, objective in own.items()
        if training_id is not None
    ]
    sizes = {each.pairs for each in found if each.pairs is not None}
    for training_id in sorted(trainings_of(workspace.database, run.run_id, run.found.shard_set_id)):
        output = workspace.training(training_id)
        job = None if training_id in own else checkpoints.finished_job(output)
        if job is None or job.shards.name != run.found.shard_set_id or job.model.name not in bases:
            continue
        if _trained_on(workspace, job, output) in sizes:
            label = f"{label_of(job.objective)}, rate {job.learning_rate:g}, seed {job.training.seed}"
            found.append(_studied(workspace, output, _unused(label, [each.label for each in found])))
    return found


def _studied(workspace: Workspace, output: Path, label: str) -> StudiedModel:
    job = checkpoints.finished_job(output)
    pairs = None if job is None else _trained_on(workspace, job, output)
    return StudiedModel(label, output, whole_model(workspace, output / checkpoints.MODEL_NAME), pairs)


def _unused(label: str, used: list[str]) -> str:
    """The label, with a number if another model has it: methods may differ in what it does not name."""
    if label not in used:
        return label
    return next(name for n in range(2, len(used) + 3) if (name := f"{label} ({n})") not in used)


def _trained_on(workspace: Workspace, job: TrainingJob, output: Path) -> int | None:
    """How many pairs it learnt from: those drawn and not kept apart that have an answer that it reads.

    It has not seen all of them if its steps ended before.
    """
    shards = workspace.shards(job.shards.name)  # where the workspace is now
    if not shards.is_dir():
        return None
    objective = objective_named(job.objective)
    answered_AP = [_has(shards, answer) for answer in objective.answers]
    usable_P = np.all(answered_AP, axis=0) if objective.whole_pairs else np.any(answered_AP, axis=0)
    trained = select_pairs(job.model_copy(update={"shards": shards})).trained
    usable = int(usable_P.sum() if trained is None else usable_P[trained].sum())
    manifest = checkpoints.read_manifest(output)
    return usable if manifest is None else min(usable, manifest.steps * job.pairs_per_step)


def _has(shards: Path, answer: str) -> npt.NDArray[np.bool_]:
    """Which pairs have this answer, shape [P]."""
    columns = [table.column(f"{answer}_ids") for table in iter_tables(shards)]
    return np.concatenate(
        [np.diff(chunk.offsets.to_numpy()) > 0 for each in columns for chunk in each.chunks]
    )

"""A training's files: checkpoints to resume from, and finally a Hugging Face model.

    OUTPUT/metrics.jsonl
    OUTPUT/checkpoints/step-00000080/   DeepSpeed's files, and whole.json; `saving.py` writes them
    OUTPUT/model/                       config, safetensors, tokenizer, chat template, generation_config
    OUTPUT/manifest.json                written last of all: its existence means finished
    OUTPUT/dropped.json                 in its place, once the model was judged and removed

The checkpoints are removed once the model is exported: their optimizer state is several times its size.

A checkpoint resumes with any number of ranks, ZeRO stage and dtype (`repartition.py`).

whole.json and manifest.json hold the SHA-256 of the files beside them and of themselves. A checkpoint is
checked before it is resumed, a model before its training counts as finished. The files of earlier releases
have no hashes and are not checked.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from figa_core.errors import TrainingError
from figa_core.file_hashes import changed_files, hashes_of, read_sealed, write_sealed
from figa_core.training.alarms import Alarm, Watched, alarm_that_ends, forget_alarms
from figa_core.training.change import WeightChange
from figa_core.training.going_back import forget_going_back, steps_to_do
from figa_core.training.held_out import HeldOut
from figa_core.training.job import TrainingJob
from figa_core.training.offload import OFFLOADED_NAME, optimizer_on_disk

MANIFEST_NAME = "manifest.json"
DROPPED_NAME = "dropped.json"
MODEL_NAME = "model"
WHOLE_NAME = "whole.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`seconds` is the wall time of the training so far, `files` holds the hash of each file.

    `training_id` is that of the training it belongs to, `write_seconds` the time that it took to write; both
    are None in earlier releases.
    """

    step: int
    ranks: int
    zero_stage: int
    dtype: str
    seconds: float
    tag: str
    files: Mapping[str, str] = field(default_factory=dict)
    training_id: str | None = None
    write_seconds: float | None = None

    def is_laid_out_for(self, job: TrainingJob) -> bool:
        """Whether the job's ranks can read it as they would have written it."""
        how = job.training
        return (self.ranks, self.zero_stage, self.dtype) == (how.ranks, how.zero_stage, how.dtype)

    @property
    def layout(self) -> str:
        """For people."""
        ranks = "one rank" if self.ranks == 1 else f"{self.ranks} ranks"
        return f"{ranks}, ZeRO-{self.zero_stage}, {self.dtype}"


@dataclass(frozen=True, slots=True)
class TrainingManifest:
    """Describes a finished training.

    `skipped_steps` had nothing to learn from, and `overflowed_steps` a gradient that was not finite; neither
    updated a weight. `wall_seconds` counts from the start of the rank processes, over all resumptions.
    `peak_rss_bytes` is the sum of the ranks' peaks. `files` holds the hash of each file of the model.

    `planned_steps` is more than `steps` if one of the `alarms` ended the training, or the pairs of `held_out`
    did. `watched` is how alarms were looked for; None if that was not done. `base_fingerprint` is that of the
    model that an adapter belongs to, or was merged into (LoRA).
    """

    training_id: str
    steps: int
    skipped_steps: int
    wall_seconds: float
    peak_rss_bytes: int
    versions: dict[str, str]
    overflowed_steps: int = 0
    change: WeightChange | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    planned_steps: int | None = None
    alarms: tuple[Alarm, ...] = ()
    watched: Watched | None = None
    held_out: HeldOut | None = None
    base_fingerprint: str | None = None

    @property
    def ended_by(self) -> Alarm | None:
        """The alarm that ended the training before its last step, if one did."""
        return alarm_that_ends(self.alarms)


def checkpoints_dir(job: TrainingJob) -> Path:
    return job.output / "checkpoints"


def checkpoint_of(job: TrainingJob, step: int, seconds: float) -> Checkpoint:
    """The record of a step's checkpoint, not yet written."""
    how, tag = job.training, tag_of(step)
    return Checkpoint(
        step,
        how.ranks,
        how.zero_stage,
        how.dtype,
        round(seconds, 3),
        tag,
        training_id=job.training_id,
    )


def last_whole(job: TrainingJob) -> Checkpoint | None:
    """The latest whole checkpoint, if there is one; `check_own` says whether the job can resume it."""
    last = steps_to_do(job)
    fitting = (c for c in whole_ones(job) if c.step <= last)
    return max(fitting, key=lambda c: c.step, default=None)


def check_own(job: TrainingJob) -> None:
    """Raises TrainingError for a checkpoint that the job cannot resume.

    It is of another training, which nobody but a person puts there; or its optimizer was offloaded to disk,
    and the job's is not, or on other ranks, or the other way round.
    """
    for found in whole_ones(job):
        if found.training_id not in (None, job.training_id):
            raise TrainingError(
                f"{checkpoints_dir(job) / found.tag}: a checkpoint of training {found.training_id}, not of "
                f"{job.training_id}. Move it away, then run again."
            )
    last = last_whole(job)
    if last is not None and (problem := _offload_problem(job, last)):
        directory = checkpoints_dir(job)
        raise TrainingError(f"{directory / last.tag}: {problem}, or remove {directory} to begin anew.")


def _offload_problem(job: TrainingJob, checkpoint: Checkpoint) -> str | None:
    """DeepSpeed copies what it keeps on disk as the ranks have it: it cannot be divided or read otherwise."""
    on_disk = (checkpoints_dir(job) / checkpoint.tag / OFFLOADED_NAME).exists()
    wanted = optimizer_on_disk(job.training)
    setting = "training.deepspeed.zero_optimization.offload_optimizer"
    if on_disk and not wanted:
        return f'its optimizer was offloaded to disk. Set {setting} to {{ device = "nvme", … }} as before'
    if wanted and not on_disk:
        return f"its optimizer was not offloaded to disk. Leave {setting} as it was before"
    if on_disk and not checkpoint.is_laid_out_for(job):
        return f"an optimizer on disk resumes as it was written only. Train with {checkpoint.layout} again"
    return None


def remove_unfinished(job: TrainingJob) -> None:
    """Remove checkpoints that a killed run had not finished, and those whose whole.json cannot be read."""
    whole = {c.tag for c in whole_ones(job)}
    for directory in checkpoints_dir(job).glob("step-*"):
        if directory.name not in whole:
            shutil.rmtree(directory)


def remove_damaged(job: TrainingJob) -> Iterator[str]:
    """Remove the latest checkpoints until one is undamaged; yields a message about each."""
    while (checkpoint := last_whole(job)) is not None:
        directory = checkpoints_dir(job) / checkpoint.tag
        changed = changed_files(directory, checkpoint.files)
        if not changed:
            return
        shutil.rmtree(directory)
        yield f"{directory}: damaged checkpoint, removed: {', '.join(changed)}"


def tag_of(step: int) -> str:
    return f"step-{step:08d}"


def whole_ones(job: TrainingJob) -> list[Checkpoint]:
    """Those that were written to their end, whatever number of ranks wrote them, in the order of steps."""
    found: list[Checkpoint] = []
    for path in sorted(checkpoints_dir(job).glob(f"step-*/{WHOLE_NAME}")):
        # A damaged one does not count: the one before it is as good, only earlier.
        with contextlib.suppress(OSError, ValueError, TypeError):
            checkpoint = Checkpoint(**read_sealed(path))
            if checkpoint.tag == path.parent.name:  # not one that was about to be renamed
                found.append(checkpoint)
    return sorted(found, key=lambda c: c.step)


def finish(job: TrainingJob, manifest: TrainingManifest) -> None:
    """Declare the training finished and drop its checkpoints."""
    manifest = replace(manifest, files=hashes_of(job.model_dir))
    write_sealed(job.output / MANIFEST_NAME, {**asdict(manifest), "job": job.model_dump(mode="json")})
    shutil.rmtree(checkpoints_dir(job), ignore_errors=True)
    forget_alarms(job.output)
    forget_going_back(job.output)


def read_manifest(output: Path) -> TrainingManifest | None:
    """The manifest of a finished training; None if it is not finished.

    Raises:
        TrainingError: the manifest is damaged.
    """
    path = output / MANIFEST_NAME
    try:
        fields = read_sealed(path)
        fields.pop("job", None)
        return _manifest(fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{path}: damaged manifest ({error}). Remove {output} and train again."
        ) from error


def finished_job(output: Path) -> TrainingJob | None:
    """What was trained, from the manifest; None if it is not finished, damaged, or a training by rewards."""
    path = output / MANIFEST_NAME
    try:
        return TrainingJob.from_json(json.dumps(read_sealed(path)["job"]), source=str(path))
    except (OSError, ValueError, TypeError, KeyError, TrainingError):
        return None


@dataclass(frozen=True, slots=True)
class DroppedModel:
    """A finished training whose model was removed. Its answers have the id that these two hashes make."""

    training: TrainingManifest
    fingerprint: str
    template: str


def drop_model(output: Path, fingerprint: str, template: str) -> None:
    """Remove the model of a finished training and keep its figures.

    Then the training no longer counts as finished: a run that needs the model trains it again.

    Raises:
        OSError: the files cannot be written or removed.
    """
    manifest = read_manifest(output)
    if manifest is not None:
        fields = {**asdict(manifest), "fingerprint": fingerprint, "template": template}
        write_sealed(output / DROPPED_NAME, fields)
        (output / MANIFEST_NAME).unlink()
        shutil.rmtree(output / MODEL_NAME)


def drop_checkpoints(job: TrainingJob) -> None:
    """Remove the checkpoints of a training that nobody will continue."""
    shutil.rmtree(checkpoints_dir(job), ignore_errors=True)


def read_dropped(output: Path) -> DroppedModel | None:
    """What `drop_model` kept; None if nothing was dropped, or the file is damaged: then it trains again."""
    try:
        fields = read_sealed(output / DROPPED_NAME)
        fingerprint, template = fields.pop("fingerprint"), fields.pop("template")
        return DroppedModel(_manifest(fields), fingerprint, template)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def check_model(output: Path, manifest: TrainingManifest) -> None:
    """Check the hashes of a finished model.

    Raises:
        TrainingError: a file is missing or has changed.
    """
    changed = changed_files(output / MODEL_NAME, manifest.files)
    if not (output / MODEL_NAME).is_dir():
        changed = [f"{MODEL_NAME} is missing"]
    if changed:
        raise TrainingError(
            f"{output / MODEL_NAME}: damaged model: {', '.join(changed)}. Check the disk, remove {output} "
            "and train again."
        )


def _manifest(fields: dict[str, Any]) -> TrainingManifest:
    change, watched = fields.pop("change", None), fields.pop("watched", None)
    alarms, held_out = fields.pop("alarms", ()), fields.pop("held_out", None)
    return TrainingManifest(
        **fields,
        change=WeightChange(**change) if change else None,
        alarms=tuple(Alarm(**alarm) for alarm in alarms),
        watched=Watched.of(watched) if watched else None,
        held_out=HeldOut(**held_out) if held_out else None,
    )


def check_exported(model: Path) -> None:
    """`check_model` if `model` is the result of a training; any other directory is not checked."""
    if model.name == MODEL_NAME and (manifest := read_manifest(model.parent)) is not None:
        check_model(model.parent, manifest)

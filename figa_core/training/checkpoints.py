"""What a training leaves on disk: checkpoints to resume from, and at last a Hugging Face model.

    OUTPUT/metrics.jsonl
    OUTPUT/checkpoints/step-00000080/   DeepSpeed's files, and whole.json, written last
    OUTPUT/model/                       config, safetensors, tokenizer, chat template, generation_config
    OUTPUT/manifest.json                written last of all: its existence means finished

The checkpoints are removed once the model is exported: their optimizer state is several times its size.

Both whole.json and manifest.json hold the SHA-256 of the files beside them and of themselves: a checkpoint is
compared before it is resumed, a model before its training is taken as done. What earlier releases wrote has
none and is taken as it is.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from figa_core.errors import TrainingError
from figa_core.file_hashes import changed_files, hashes_of, sealed, unsealed
from figa_core.files import write_whole
from figa_core.training.change import WeightChange
from figa_core.training.job import TrainingJob

MANIFEST_NAME = "manifest.json"
MODEL_NAME = "model"
_WHOLE_NAME = "whole.json"
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint; `seconds` is the wall time the training had taken by then, `files` the hash of
    each of its files.
    """

    step: int
    ranks: int
    zero_stage: int
    dtype: str
    seconds: float
    tag: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingManifest:
    """What a finished training says about itself.

    `overflowed_steps` made no update because the gradient was not finite. `wall_seconds` counts from the
    start of the rank processes, over all resumptions; `peak_rss_bytes` is the sum of the ranks' peaks.
    `change` is how far the weights moved, `files` the hash of each file of the model.
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


def checkpoints_dir(job: TrainingJob) -> Path:
    """Where a job's checkpoints are."""
    return job.output / "checkpoints"


def save(job: TrainingJob, checkpoint: Checkpoint, write: Callable[[Path, str], None]) -> None:
    """Let this rank `write` its part below (directory, tag); `mark_whole` follows when all ranks have.

    Raises:
        TrainingError: it cannot be written, mostly for a full disk; the checkpoint before stays.
    """
    directory = checkpoints_dir(job)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write(directory, checkpoint.tag)
    except (OSError, RuntimeError) as error:
        raise _cannot_write(job, checkpoint, error) from error


def mark_whole(job: TrainingJob, checkpoint: Checkpoint) -> None:
    """Declare it whole, then remove all but the last two. Rank 0 calls it after all have written.

    Raises:
        TrainingError: it cannot be written.
    """
    directory = checkpoints_dir(job)
    try:
        files = hashes_of(directory / checkpoint.tag, without=frozenset((_WHOLE_NAME,)))
        write_json(directory / checkpoint.tag / _WHOLE_NAME, sealed(asdict(replace(checkpoint, files=files))))
    except OSError as error:
        raise _cannot_write(job, checkpoint, error) from error
    for old in [c for c in _whole(job) if c.step <= checkpoint.step][:-_KEPT]:
        shutil.rmtree(directory / old.tag)


def _cannot_write(job: TrainingJob, checkpoint: Checkpoint, error: Exception) -> TrainingError:
    before = last_whole(job)
    stays = f"That of step {before.step} stays" if before else "There is none before it"
    free = shutil.disk_usage(job.output).free / 2**30
    return TrainingError(
        f"{checkpoints_dir(job) / checkpoint.tag}: cannot write the checkpoint ({_first_line(error)}); "
        f"{free:.1f} GiB are free there. {stays}. Free space and run again."
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def last_whole(job: TrainingJob) -> Checkpoint | None:
    """The latest whole checkpoint of the job's number of ranks, ZeRO stage and dtype; None without one."""
    fitting = [
        c
        for c in _whole(job)
        if (c.ranks, c.zero_stage, c.dtype)
        == (job.training.processes, job.training.zero_stage, job.training.dtype)
        and c.step <= job.steps
    ]
    return fitting[-1] if fitting else None


def remove_unfinished(job: TrainingJob) -> None:
    """Remove what a killed run left of a checkpoint it was writing, and what is damaged beyond reading."""
    whole = {c.tag for c in _whole(job)}
    for directory in checkpoints_dir(job).glob("step-*"):
        if directory.name not in whole:
            shutil.rmtree(directory)


def remove_damaged(job: TrainingJob) -> Iterator[str]:
    """Remove the latest checkpoints whose files are not as they were written; tells what of each."""
    while (checkpoint := last_whole(job)) is not None:
        directory = checkpoints_dir(job) / checkpoint.tag
        changed = changed_files(directory, checkpoint.files)
        if not changed:
            return
        shutil.rmtree(directory)
        yield f"{directory}: damaged checkpoint, left out: {', '.join(changed)}"


def tag_of(step: int) -> str:
    """Directory name of a step's checkpoint."""
    return f"step-{step:08d}"


def _whole(job: TrainingJob) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    for path in sorted(checkpoints_dir(job).glob(f"step-*/{_WHOLE_NAME}")):
        # A damaged one is none: the one before it is as good, only earlier.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            found.append(Checkpoint(**unsealed(json.loads(path.read_text(encoding="utf-8")))))
    return sorted(found, key=lambda c: c.step)


def finish(job: TrainingJob, manifest: TrainingManifest) -> None:
    """Declare the training finished and drop its checkpoints."""
    manifest = replace(manifest, files=hashes_of(job.model_dir))
    write_json(job.output / MANIFEST_NAME, sealed({**asdict(manifest), "job": json.loads(job.to_json())}))
    shutil.rmtree(checkpoints_dir(job), ignore_errors=True)


def read_manifest(output: Path) -> TrainingManifest | None:
    """The manifest of a finished training, None where it is not finished.

    Raises:
        TrainingError: the manifest is damaged.
    """
    path = output / MANIFEST_NAME
    try:
        fields = unsealed(json.loads(path.read_text(encoding="utf-8")))
        fields.pop("job", None)
        change = fields.pop("change", None)
        return TrainingManifest(**fields, change=WeightChange(**change) if change else None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path}: damaged manifest ({error}). Remove {output} and train again."
        ) from error


def check_model(output: Path, manifest: TrainingManifest) -> None:
    """Compare the finished model with what the training wrote.

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


def check_exported(model: Path) -> None:
    """`check_model` where `model` is a training's; any other directory is left to who reads it."""
    if model.name == MODEL_NAME and (manifest := read_manifest(model.parent)) is not None:
        check_model(model.parent, manifest)


def write_json(path: Path, value: object) -> None:
    """Replace the file, durably."""
    write_whole(path, json.dumps(value, indent=2).encode(), durable=True)

"""What a training leaves on disk: checkpoints to resume from, and at last a Hugging Face model.

    OUTPUT/metrics.jsonl
    OUTPUT/checkpoints/step-00000080/   DeepSpeed's files, and whole.json, written last
    OUTPUT/model/                       config, safetensors, tokenizer, chat template, generation_config
    OUTPUT/manifest.json                written last of all: its existence means finished

The checkpoints are removed once the model stands: their optimizer state is several times its size.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from figa_core.chat import load_chat_format
from figa_core.errors import TrainingError
from figa_core.training.job import TrainingJob

MANIFEST_NAME = "manifest.json"
_WHOLE_NAME = "whole.json"
_KEPT = 2
_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "chat_template*",
    "additional_chat_templates",
    "generation_config.json",
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint; `seconds` is the wall time the training had taken by then."""

    step: int
    ranks: int
    zero_stage: int
    dtype: str
    seconds: float
    tag: str


@dataclass(frozen=True, slots=True)
class TrainingManifest:
    """What a finished training says about itself.

    `overflowed_steps` made no update because the gradient was not finite. `wall_seconds` counts from the
    start of the rank processes, over all resumptions; `peak_rss_bytes` is the sum of the ranks' peaks.
    """

    training_id: str
    steps: int
    skipped_steps: int
    wall_seconds: float
    peak_rss_bytes: int
    versions: dict[str, str]
    overflowed_steps: int = 0


def checkpoints_dir(job: TrainingJob) -> Path:
    """Where a job's checkpoints are."""
    return job.output / "checkpoints"


def mark_whole(job: TrainingJob, checkpoint: Checkpoint) -> None:
    """Declare it whole, then remove all but the last two. Rank 0 calls it after all have written."""
    directory = checkpoints_dir(job)
    write_json(directory / checkpoint.tag / _WHOLE_NAME, asdict(checkpoint))
    for old in [c for c in _whole(job) if c.step <= checkpoint.step][:-_KEPT]:
        shutil.rmtree(directory / old.tag)


def last_whole(job: TrainingJob) -> Checkpoint | None:
    """The latest whole checkpoint of the job's number of ranks, ZeRO stage and dtype; None without one."""
    fitting = [
        c
        for c in _whole(job)
        if (c.ranks, c.zero_stage, c.dtype) == (job.processes, job.zero_stage, job.dtype)
        and c.step <= job.steps
    ]
    return fitting[-1] if fitting else None


def remove_unfinished(job: TrainingJob) -> None:
    """Remove what a killed run left of a checkpoint it was writing."""
    whole = {c.tag for c in _whole(job)}
    for directory in checkpoints_dir(job).glob("step-*"):
        if directory.name not in whole:
            shutil.rmtree(directory)


def tag_of(step: int) -> str:
    """Directory name of a step's checkpoint."""
    return f"step-{step:08d}"


def _whole(job: TrainingJob) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    for path in sorted(checkpoints_dir(job).glob(f"step-*/{_WHOLE_NAME}")):
        try:
            found.append(Checkpoint(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            raise TrainingError(
                f"{path}: damaged checkpoint ({error}). Remove {path.parent} and run again."
            ) from error
    return sorted(found, key=lambda c: c.step)


def export_model(model: Any, state_dict: dict[str, Any], job: TrainingJob) -> None:
    """Write the model as a plain Hugging Face directory: beside first, then renamed.

    Tokenizer files are copied byte for byte, so that the trained model accepts the same shards.
    """
    temporary = job.output / "model.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary, state_dict=state_dict)
    for pattern in _TOKENIZER_FILES:
        for source in job.model.glob(pattern):
            target = temporary / source.name
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, target)
    chat = load_chat_format(job.model)
    if chat.fallback_template:
        (temporary / "chat_template.jinja").write_text(chat.template, encoding="utf-8")
    shutil.rmtree(job.model_dir, ignore_errors=True)
    temporary.rename(job.model_dir)


def finish(job: TrainingJob, manifest: TrainingManifest) -> None:
    """Declare the training finished and drop its checkpoints."""
    write_json(job.output / MANIFEST_NAME, {**asdict(manifest), "job": json.loads(job.to_json())})
    shutil.rmtree(checkpoints_dir(job), ignore_errors=True)


def read_manifest(output: Path) -> TrainingManifest | None:
    """The manifest of a finished training, None where it is not finished.

    Raises:
        TrainingError: the manifest is damaged.
    """
    path = output / MANIFEST_NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields.pop("job", None)
        return TrainingManifest(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path}: damaged manifest ({error}). Remove {output} and train again."
        ) from error


def write_json(path: Path, value: object) -> None:
    """Write beside, flush to disk, rename."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
